using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;

/// <summary>What sidekey answers in the place of a value: JSON, after a 409 with "candidates" to choose from.</summary>
public sealed class SecretException : Exception
{
    public SecretException(int status, string problem) : base($"{status} {problem}") => Status = status;

    public int Status { get; }
}

/// <summary>Reads secrets from sidekey.</summary>
public sealed class SecretClient
{
    private readonly HttpClient http;
    private readonly string? tokenFile = Environment.GetEnvironmentVariable("SIDEKEY_TOKEN_FILE");

    public SecretClient(string address, TimeSpan timeout)
    {
        var tcp = address.StartsWith("http://", StringComparison.Ordinal);
        var handler = new SocketsHttpHandler { UseProxy = false };
        if (!tcp) handler.ConnectCallback = async (_, cancel) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(address), cancel);
            return new NetworkStream(socket, ownsSocket: true);
        };
        http = new HttpClient(handler) { BaseAddress = new Uri(tcp ? address : "http://sidekey"), Timeout = timeout };
    }

    /// <summary>The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network.</summary>
    public async Task<byte[]> ReadAsync(string reference)
    {
        var names = reference.Split('/', 2).Select(Uri.EscapeDataString).ToArray();
        var path = names.Length == 1 ? $"/v1/secrets/{names[0]}" : $"/v1/vaults/{names[0]}/secrets/{names[1]}";
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        var token = tokenFile is null ? null : (await File.ReadAllTextAsync(tokenFile)).Trim();
        if (token is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using var response = await http.SendAsync(request);
        var body = await response.Content.ReadAsByteArrayAsync();
        return response.IsSuccessStatusCode ? body : throw new SecretException((int)response.StatusCode, Encoding.UTF8.GetString(body));
    }
}
