//! Pictures of numbers, as SVG.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::ops::report::DayCount;

/// Colours that can be seen on white and on nearly black.
const ASKED: RGBColor = RGBColor(0x1f, 0x8f, 0x73);
const FINISHED: RGBColor = RGBColor(0x9a, 0xa9, 0xb1);
const WORDS: RGBColor = RGBColor(0x78, 0x86, 0x8e);

/// What a chart draws on, and its result. A string takes every write, so that nothing fails.
fn drawn(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Option<()>) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let _complete = draw(&area);
    let _written = area.present();
    drop(area);
    // What it shows is also said in words.
    svg.replacen("<svg ", "<svg class=\"chart\" aria-hidden=\"true\" ", 1)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn bar(
    area: &Area<'_>,
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
    colour: RGBColor,
) -> Option<()> {
    let corner = |x: usize, y: usize| Some((i32::try_from(x).ok()?, i32::try_from(y).ok()?));
    area.draw(&Rectangle::new([corner(left, top)?, corner(right, bottom)?], colour.filled())).ok()
}

/// Two bars for each day in a line of a table: what was finished, and before it what was asked.
pub(super) fn sparkline(days: &[DayCount]) -> String {
    const BAR: usize = 4;
    const HEIGHT: usize = 24;

    let most = days.iter().map(|day| day.finished.max(day.asked)).max().unwrap_or_default().max(1);
    let width = u32::try_from(days.len() * BAR).unwrap_or(1);
    drawn((width, 24), |area| {
        for (number, day) in days.iter().enumerate() {
            let left = number * BAR;
            for (count, colour) in [(day.finished, FINISHED), (day.asked, ASKED)] {
                let high = (count * HEIGHT).div_ceil(most);
                if high > 0 {
                    bar(area, left, HEIGHT - high, left + BAR - 1, HEIGHT, colour)?;
                }
            }
        }
        Some(())
    })
}

/// The same for many days, with an axis.
pub(super) fn days(days: &[DayCount]) -> String {
    const LEFT: usize = 34;
    const HEIGHT: usize = 150;
    const TOP: usize = 12;
    const BAR: usize = 8;

    let most = days.iter().map(|day| day.finished.max(day.asked)).max().unwrap_or_default().max(1);
    let width = LEFT + days.len() * BAR + 4;
    drawn((u32::try_from(width).unwrap_or(1), 190), |area| {
        let words = ("sans-serif", 12).into_font().color(&WORDS);
        let right = words.pos(Pos::new(HPos::Right, VPos::Center));
        for (count, y) in [(most, TOP), (0, TOP + HEIGHT)] {
            let y_place = i32::try_from(y).ok()?;
            area.draw(&Text::new(count.to_string(), (28, y_place), right.clone())).ok()?;
            bar(area, LEFT, y, width, y + 1, FINISHED)?;
        }
        let below = words.pos(Pos::new(HPos::Left, VPos::Top));
        for (number, day) in days.iter().enumerate() {
            let left = LEFT + number * BAR;
            for (count, colour) in [(day.finished, FINISHED), (day.asked, ASKED)] {
                let high = (count * HEIGHT).div_ceil(most);
                if high > 0 {
                    bar(area, left, TOP + HEIGHT - high, left + BAR - 2, TOP + HEIGHT, colour)?;
                }
            }
            if number.is_multiple_of(14) {
                let place = (i32::try_from(left).ok()?, 172);
                area.draw(&Text::new(day.day.strftime("%b %-d").to_string(), place, below.clone())).ok()?;
            }
        }
        Some(())
    })
}

/// A square for each hour of the week: the more asks, the stronger.
pub(super) fn hours(hours: &[[usize; 24]; 7]) -> String {
    const LEFT: usize = 40;
    const CELL: usize = 26;
    const TOP: usize = 4;

    let most = hours.iter().flatten().copied().max().unwrap_or_default().max(1);
    let size =
        (u32::try_from(LEFT + 24 * CELL).unwrap_or(1), u32::try_from(TOP + 7 * CELL + 22).unwrap_or(1));
    drawn(size, |area| {
        let words = ("sans-serif", 12).into_font().color(&WORDS);
        let right = words.pos(Pos::new(HPos::Right, VPos::Center));
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        for (row, (name, counts)) in names.iter().zip(hours).enumerate() {
            let top = TOP + row * CELL;
            let middle = i32::try_from(top + CELL / 2).ok()?;
            area.draw(&Text::new((*name).to_owned(), (34, middle), right.clone())).ok()?;
            for (hour, count) in counts.iter().enumerate() {
                let left = LEFT + hour * CELL;
                // Never quite invisible where there is something.
                let strength = match count {
                    0 => 0.06,
                    count => {
                        0.25 + 0.75 * f64::from(u32::try_from(*count).ok()?)
                            / f64::from(u32::try_from(most).ok()?)
                    }
                };
                let colour = if *count == 0 { FINISHED } else { ASKED }.mix(strength);
                let corner = |x: usize, y: usize| Some((i32::try_from(x).ok()?, i32::try_from(y).ok()?));
                let cell = [corner(left, top)?, corner(left + CELL - 2, top + CELL - 2)?];
                area.draw(&Rectangle::new(cell, colour.filled())).ok()?;
            }
        }
        let below = words.pos(Pos::new(HPos::Left, VPos::Top));
        for hour in (0..24).step_by(3) {
            let place = (i32::try_from(LEFT + hour * CELL).ok()?, i32::try_from(TOP + 7 * CELL + 4).ok()?);
            area.draw(&Text::new(format!("{hour}:00"), place, below.clone())).ok()?;
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(finished: usize, asked: usize) -> DayCount {
        DayCount { day: jiff::civil::date(2026, 3, 10), finished, asked }
    }

    #[test]
    fn a_chart_is_svg_without_styles_or_scripts() {
        let mut week = [[0; 24]; 7];
        week[1][14] = 3;
        for svg in [sparkline(&[count(3, 1), count(0, 0)]), days(&[count(3, 1)]), hours(&week), days(&[])] {
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("style=") && !svg.contains("<script"), "{svg}");
        }
        assert_eq!(sparkline(&[count(3, 1), count(0, 0)]).matches("<rect").count(), 2);
        assert!(hours(&week).matches("<rect").count() == 7 * 24);
    }
}
