//! How cost grows with accounts, latency and history: measures a few sizes of each and draws them into `docs/cost/`.

use std::ops::Range;
use std::path::PathBuf;

use plotters::prelude::*;

use crate::{Bench, history, latency};

/// What was measured: the size, and what it took.
type Points = Vec<(f64, f64)>;

pub(crate) fn measure(bench: &Bench) {
    let accounts: Points = [1_000, 3_000, 10_000, 20_000]
        .into_iter()
        .map(|accounts| (accounts as f64, latency::sweep_of(bench, accounts, 300)))
        .collect();
    draw(
        "accounts",
        "Idle accounts swept, 300 ms to each answer of Jobber's",
        ("accounts", "seconds"),
        &[("a sweep", accounts)],
    );
    let latencies: Points = [10, 100, 300, 600]
        .into_iter()
        .map(|latency| (f64::from(u16::try_from(latency).unwrap()), latency::sweep_of(bench, 3_000, latency)))
        .collect();
    draw(
        "latency",
        "3,000 idle accounts swept",
        ("milliseconds to each answer of Jobber's", "seconds"),
        &[("a sweep", latencies)],
    );
    let (mut status, mut explain, mut open) = (Points::new(), Points::new(), Points::new());
    for each in [10, 30, 100, 300, 1_000] {
        let cost = history::cost(bench, 1_000, each);
        let decisions = (1_000 * each) as f64;
        status.push((decisions, cost.status));
        explain.push((decisions, cost.explain));
        open.push((decisions, cost.open));
    }
    draw(
        "history",
        "What people wait for, 1,000 accounts",
        ("decisions", "milliseconds"),
        &[("status", status), ("explain a name", explain), ("open the store", open)],
    );
}

/// Prints the points and draws them, from zero.
fn draw(name: &str, title: &str, axes: (&str, &str), lines: &[(&str, Points)]) {
    const COLOURS: [RGBColor; 3] =
        [RGBColor(0x1f, 0x8f, 0x73), RGBColor(0xc2, 0x5b, 0x1e), RGBColor(0x4a, 0x6f, 0xb5)];
    const WORDS: RGBColor = RGBColor(0x78, 0x86, 0x8e);

    for (line, points) in lines {
        for (size, took) in points {
            println!("{title}: {line}, {size} {}: {took:.2} {}", axes.0, axes.1);
        }
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/cost");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.svg"));
    let area = SVGBackend::new(&path, (720, 360)).into_drawing_area();
    let up_to = |of: fn(&(f64, f64)) -> f64| {
        let most = lines.iter().flat_map(|(_, points)| points).map(of).fold(0.0, f64::max);
        Range { start: 0.0, end: most * 1.05 }
    };
    let words = ("sans-serif", 13).into_font().color(&WORDS);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16).into_font().color(&WORDS))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(up_to(|(size, _)| *size), up_to(|(_, took)| *took))
        .unwrap();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(WORDS.mix(0.3))
        .axis_style(WORDS)
        .label_style(words.clone())
        .axis_desc_style(words.clone())
        .x_desc(axes.0)
        .y_desc(axes.1)
        .draw()
        .unwrap();
    for ((line, points), colour) in lines.iter().zip(COLOURS) {
        let series = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
        let drawn = chart.draw_series(series).unwrap();
        if lines.len() > 1 {
            drawn
                .label(*line)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font(words)
            .draw()
            .unwrap();
    }
    area.present().unwrap();
}
