<?php
// Receives review requests with PHP 8.1: WEBHOOK_SECRET=whsec_… php -S 127.0.0.1:8080 receiver.php
// Standard Webhooks without a library: composer has standard-webhooks/standard-webhooks.
declare(strict_types=1);

// Whatever fails is answered with 500, so that the message comes again.
ini_set('display_errors', '0');
http_response_code(500);
const TOLERANCE = 300;

function is_signed(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    $key = base64_decode(substr($secret, strlen('whsec_')), true);
    if ($key === false || $key === '') {
        throw new RuntimeException('WEBHOOK_SECRET is not whsec_ and base64');
    }
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    $is_known = array_filter(explode(' ', $signatures), fn (string $given): bool => hash_equals($expected, $given));
    return $is_known && ctype_digit($timestamp) && abs(time() - (int) $timestamp) <= TOLERANCE;
}

// Stores a message under its id, whole or not at all. Returns whether it is new.
function store(string $folder, string $id, string $body): bool
{
    if (!is_dir($folder) && !mkdir($folder, 0700, true) && !is_dir($folder)) {
        throw new RuntimeException("cannot make $folder");
    }
    $part = tempnam($folder, '.part');
    $file = fopen($part, 'w');
    $is_written = fwrite($file, $body) === strlen($body) && fsync($file) && fclose($file);
    $is_new = $is_written && @link($part, "$folder/$id.json");
    unlink($part);
    if (!$is_written || (!$is_new && !file_exists("$folder/$id.json"))) {
        throw new RuntimeException("cannot store $id");
    }
    return $is_new;
}

function receive(): int
{
    $body = (string) file_get_contents('php://input');
    [$id, $timestamp, $signatures] = array_map(
        fn (string $name): string => $_SERVER["HTTP_WEBHOOK_$name"] ?? '',
        ['ID', 'TIMESTAMP', 'SIGNATURE'],
    );
    return match (true) {
        !is_signed((string) getenv('WEBHOOK_SECRET'), $id, $timestamp, $signatures, $body) => 401,
        preg_match('/^[a-z]+_[\w-]+$/D', $id) !== 1 => 400,
        (json_decode($body, true)['type'] ?? null) === 'ping' => 204,
        // Write to the customer later, from what is stored: never before the answer, and never for a `review.test`.
        default => store(getenv('ASKS') ?: 'asks', $id, $body) ? 201 : 200,
    };
}

http_response_code(receive());
