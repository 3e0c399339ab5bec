package magpie;

import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/**
 * One node of a cluster, in its own process so that a test can kill it. Settings are arguments, {@code key=value}.
 * Exits together with the process that started it: when its standard input is closed.
 */
public final class OpenSearchNode extends Node {
    private OpenSearchNode(Environment environment, List<Class<? extends Plugin>> plugins) {
        super(environment, plugins, true);
    }

    /** Loads a plugin by its name: the k-NN plugin comes in an archive that is not on the compiler's class path. */
    private static Class<? extends Plugin> plugin(String name) throws ClassNotFoundException {
        return Class.forName(name).asSubclass(Plugin.class);
    }

    @SuppressWarnings("resource") // closed by the end of the process
    public static void main(String[] arguments) throws Exception {
        Settings.Builder settings = Settings.builder();
        for (String argument : arguments) {
            String[] parts = argument.split("=", 2);
            settings.put(parts[0], parts[1]);
        }
        Environment environment =
                InternalSettingsPreparer.prepareEnvironment(settings.build(), Map.of(), null, () -> "node");
        new OpenSearchNode(environment, List.of(plugin("org.opensearch.transport.Netty4Plugin"),
                plugin("org.opensearch.knn.plugin.KNNPlugin"))).start();
        while (System.in.read() >= 0) {}
        Runtime.getRuntime().halt(0);
    }
}
