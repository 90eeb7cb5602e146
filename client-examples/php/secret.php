#!/usr/bin/env php
<?php
// Reads secrets from sidekey: secret.php VAULT/NAME|NAME…, or without arguments one for each line of stdin.
// Needs PHP 8 with its curl extension.
declare(strict_types=1);

/** What sidekey answers in the place of a value: JSON, after a 409 with "candidates" to choose from. */
final class SecretException extends RuntimeException {}

/** The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network. */
function secret(string $reference, string $addr, float $timeout): string
{
    $names = array_map(rawurlencode(...), explode('/', $reference, 2));
    $path = count($names) === 1 ? "/v1/secrets/$names[0]" : "/v1/vaults/$names[0]/secrets/$names[1]";
    $tcp = str_starts_with($addr, 'http://');
    $request = curl_init($tcp ? $addr . $path : "http://sidekey$path");
    $tokenFile = getenv('SIDEKEY_TOKEN_FILE');
    curl_setopt_array($request, [
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT_MS => (int) ($timeout * 1000),
        CURLOPT_NOPROXY => '*',
        CURLOPT_HTTPHEADER => $tokenFile ? ['Authorization: Bearer ' . trim(file_get_contents($tokenFile))] : [],
    ] + ($tcp ? [] : [CURLOPT_UNIX_SOCKET_PATH => $addr]));
    $body = curl_exec($request);
    $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
    $isWhole = curl_getinfo($request, CURLINFO_CONTENT_LENGTH_DOWNLOAD) >= 0; // else it was cut off in its head
    return match (true) {
        $body === false || !$isWhole => throw new SecretException("no answer from $addr: " . curl_error($request)),
        $status !== 200 => throw new SecretException("$status $body", $status),
        default => $body,
    };
}

$lines = (static function () { while (($line = fgets(STDIN)) !== false) yield rtrim($line, "\n"); })();
$addr = getenv('SIDEKEY_ADDR') ?: '/run/sidekey/sidekey.sock';
try {
    foreach (array_slice($argv, 1) ?: $lines as $reference) {
        fwrite(STDOUT, secret($reference, $addr, (float) (getenv('SIDEKEY_TIMEOUT') ?: 20)));
    }
} catch (SecretException $error) {
    fwrite(STDERR, "sidekey: {$error->getMessage()}\n");
    // The exit codes of sidekey's own commands; for other answers 69: unavailable.
    exit(match ($error->getCode()) { 404, 409 => 1, 400 => 64, 401, 403, 410, 502 => 77, default => 69 });
}
