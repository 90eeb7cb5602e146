import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Map;

/** java -cp . Main VAULT/NAME|NAME…, or without arguments one for each line of stdin. */
final class Main {
    /** The exit codes of sidekey's own commands; for other answers 69: unavailable. */
    static final Map<Integer, Integer> EXIT_CODES = Map.of(400, 64, 401, 77, 403, 77, 404, 1, 409, 1, 410, 77, 502, 77);

    public static void main(String[] args) throws IOException {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        Iterable<String> references = args.length > 0 ? List.of(args) : () -> lines.lines().iterator();
        try {
            for (var reference : references) {
                System.out.write(Secret.read(reference));
                System.out.flush();
            }
        } catch (Secret.Problem problem) {
            System.err.println("sidekey: " + problem.getMessage());
            System.exit(EXIT_CODES.getOrDefault(problem.status, 69));
        } catch (IOException error) {
            System.err.println("sidekey: no answer from " + Secret.ADDR + ": " + error);
            System.exit(69);
        }
    }
}
