import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's command-line tools, many calls in one JVM. A line of the input is a call: the file that takes what is printed,
 * the one for what goes to the standard error (or nothing: to the same), the tool's class, its arguments, with tabs
 * between them. The answer is a line with the exit status that a JVM of the
 * tool's own would have had.
 */
public class Tools {
    /** Thrown where a tool ends its JVM: past its own handlers of exceptions, and the first status holds. */
    static class Exited extends Error {
        final int status;

        Exited(int status) {
            super(null, null, false, false);
            this.status = status;
        }
    }

    static Exited exited;

    public static void main(String[] args) throws IOException {
        Exit.Procedure exit = (status, message) -> {
            exited = exited == null ? new Exited(status) : exited;
            throw exited;
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        PrintStream answers = System.out;
        BufferedReader calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String call = calls.readLine(); call != null; call = calls.readLine()) {
            String[] words = call.split("\t", -1);
            answers.println(run(words[0], words[1], words[2], Arrays.copyOfRange(words, 3, words.length)));
            answers.flush();
        }
    }

    static int run(String printed, String complained, String tool, String[] arguments) throws IOException {
        exited = null;
        try (PrintStream output = file(printed); PrintStream errors = complained.isEmpty() ? output : file(complained)) {
            System.setOut(output);
            System.setErr(errors);
            try {
                Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            } catch (InvocationTargetException err) {
                if (exited == null) {
                    err.getCause().printStackTrace(errors);
                    return 1;
                }
            } catch (ReflectiveOperationException err) {
                err.printStackTrace(errors);
                return 1;
            }
            return exited == null ? 0 : exited.status;
        }
    }

    static PrintStream file(String name) throws IOException {
        return new PrintStream(new BufferedOutputStream(new FileOutputStream(name), 1 << 16), false, StandardCharsets.UTF_8);
    }
}
