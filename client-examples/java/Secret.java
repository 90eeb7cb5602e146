import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLEncoder;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Reads secrets from sidekey. One exchange over a channel, as java.net.http knows no unix sockets. */
final class Secret {
    static final String ADDR = System.getenv().getOrDefault("SIDEKEY_ADDR", "/run/sidekey/sidekey.sock");
    static final long TIMEOUT = Long.parseLong(System.getenv().getOrDefault("SIDEKEY_TIMEOUT", "20"));

    /** What sidekey answers in the place of a value: JSON, after a 409 with "candidates" to choose from. */
    static final class Problem extends IOException {
        private static final long serialVersionUID = 1;
        final int status;

        Problem(int status, byte[] body) {
            super(status + " " + new String(body, UTF_8));
            this.status = status;
        }
    }

    /** The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network. */
    static byte[] read(String reference) throws IOException {
        var names = URLEncoder.encode(reference, UTF_8).split("%2F", 2);
        var path = names.length == 1 ? "secrets/" + names[0] : "vaults/" + names[0] + "/secrets/" + names[1];
        var url = ADDR.startsWith("http://") ? URI.create(ADDR) : null;
        var request = "GET /v1/" + path + " HTTP/1.1\r\nHost: " + (url == null ? "sidekey" : url.getAuthority())
                + "\r\nConnection: close\r\n";
        var tokenFile = System.getenv("SIDEKEY_TOKEN_FILE");
        if (tokenFile != null) request += "Authorization: Bearer " + Files.readString(Path.of(tokenFile)).trim() + "\r\n";
        var address = url == null ? UnixDomainSocketAddress.of(ADDR) : new InetSocketAddress(url.getHost(), url.getPort());

        var late = new CompletableFuture<Void>().orTimeout(TIMEOUT, TimeUnit.SECONDS);
        try (var channel = SocketChannel.open(address)) {
            late.whenComplete((ok, timeout) -> { // ends a read that hangs
                try { channel.shutdownInput(); } catch (IOException closed) { throw new UncheckedIOException(closed); }
            });
            for (var bytes = ByteBuffer.wrap((request + "\r\n").getBytes(UTF_8)); bytes.hasRemaining(); ) channel.write(bytes);
            var answer = Channels.newInputStream(channel).readAllBytes();
            var head = new String(answer, ISO_8859_1).split("\r\n\r\n", 2)[0];
            var body = Arrays.copyOfRange(answer, Math.min(head.length() + 4, answer.length), answer.length);
            if (!head.toLowerCase().contains("\r\ncontent-length: " + body.length)) throw new EOFException("the answer was cut off");
            var status = Integer.parseInt(head.substring(9, 12));
            if (status != 200) throw new Problem(status, body);
            return body;
        } finally {
            late.complete(null);
        }
    }
}
