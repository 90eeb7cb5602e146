// secret VAULT/NAME|NAME…, or without arguments one for each line of stdin.
var address = Environment.GetEnvironmentVariable("SIDEKEY_ADDR") ?? "/run/sidekey/sidekey.sock";
var timeout = TimeSpan.FromSeconds(double.Parse(Environment.GetEnvironmentVariable("SIDEKEY_TIMEOUT") ?? "20"));
var secrets = new SecretClient(address, timeout);
using var output = Console.OpenStandardOutput();
try
{
    foreach (var reference in args.Length > 0 ? args : Lines())
    {
        output.Write(await secrets.ReadAsync(reference));
    }
    return 0;
}
catch (SecretException error)
{
    Console.Error.WriteLine($"sidekey: {error.Message}");
    // The exit codes of sidekey's own commands; for other answers 69: unavailable.
    return error.Status switch { 400 => 64, 401 or 403 or 410 or 502 => 77, 404 or 409 => 1, _ => 69 };
}
catch (Exception error) when (error is HttpRequestException or TaskCanceledException or IOException)
{
    Console.Error.WriteLine($"sidekey: no answer from {address}: {error.Message}");
    return 69;
}

static IEnumerable<string> Lines()
{
    while (Console.ReadLine() is { } line)
    {
        yield return line;
    }
}
