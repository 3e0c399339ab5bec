package dev.magpie

import dev.magpie.internal.modelId
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest

/**
 * The model pack that comes with an app, and the base of the catalogue to start from, as files.
 *
 * ```kotlin
 * val files = AppFiles.install(folder, catalog, model = mapOf(
 *     "manifest.json" to { assets.open("model/manifest.json") },
 *     "model.onnx" to { assets.open("model/model.onnx") },
 * ), base = BundledBase("1f0c…") { assets.open("base/1f0c…") })
 * val engine = files.open(catalog)
 * ```
 *
 * Parts of an app's archive cannot be mapped into memory, so they are copied; but what is there stays when the app is
 * updated, unless it is other files. The base is there only as long as it is needed: until a catalogue for the same
 * model is installed.
 *
 * @property modelFolder folder of the model pack
 * @property baseFile the base, or null where it is not needed
 */
public class AppFiles private constructor(public val modelFolder: File, public val baseFile: File?) {
    /** Opens what is installed, or else the base; see [SearchEngine.open]. */
    public suspend fun open(catalog: Catalog, dispatcher: CoroutineDispatcher = Dispatchers.Default): SearchEngine =
        SearchEngine.open(modelFolder, catalog, baseFile, dispatcher = dispatcher)

    public companion object {
        private const val MANIFEST = "manifest.json"
        private const val UNFINISHED = "unfinished"
        private const val MODEL = "model-"
        private const val BASE = "base-"
        private val plain = Regex("[A-Za-z0-9_-][A-Za-z0-9._-]*")
        private val installing = Mutex()

        /**
         * Copies what is not there yet, and removes what is no longer needed. If anything fails, the files of before
         * stay.
         *
         * @param root a folder for this purpose alone; created if missing
         * @param catalog the folder in which updates are installed
         * @param model the sources of the model pack's files, each opened at most twice
         * @param base the catalogue to start from; null for none
         * @throws MagpieException.File if a file cannot be read or written
         * @throws MagpieException.Catalog if the base is damaged
         * @throws MagpieException.Model if the model is invalid
         */
        public suspend fun install(
            root: File,
            catalog: Catalog,
            model: Map<String, () -> InputStream>,
            base: BundledBase? = null,
            dispatcher: CoroutineDispatcher = Dispatchers.IO,
        ): AppFiles {
            for (name in model.keys + listOfNotNull(base?.name)) {
                require(plain.matches(name)) { "invalid file name: '$name'" }
            }
            val manifest = requireNotNull(model[MANIFEST]) { "the model has no $MANIFEST" }
            // One at a time: another installation would remove the files that this one is writing.
            return installing.withLock {
                withContext(dispatcher) {
                    try {
                        val folder = root.resolve(MODEL + manifest().use { it.readBytes() }.digest())
                        if (!folder.isDirectory) write(root, folder) { to -> copyAll(model, to) }
                        val needed = base?.takeIf { isNeeded(catalog, folder) }
                        val file = needed?.let { root.resolve(BASE + it.name) }
                        if (needed != null && file?.isFile == false) write(root, file) { to -> copyBase(needed, to) }
                        val old = root.listFiles { found -> found.isOurs() && found != folder && found != file }
                        old?.forEach { it.deleteRecursively() }
                        AppFiles(folder, file)
                    } catch (e: IOException) {
                        throw MagpieException.File("cannot install into $root: ${e.message}", e)
                    }
                }
            }
        }

        /**
         * The base is not needed where a catalogue is installed that opens with the app's model, or with its own. While
         * a damaged one is repaired, there is the base to search.
         */
        private suspend fun isNeeded(catalog: Catalog, model: File): Boolean {
            val own = translated { modelId(model.path) }
            val current = try {
                catalog.current()
            } catch (_: MagpieException.Catalog) {
                null
            }
            return current == null || (!current.hasPack && current.modelId != own)
        }

        private suspend fun copyAll(files: Map<String, () -> InputStream>, to: File) {
            files.forEach { (name, open) -> open().use { copy(it, to.resolve(name)) } }
            // Reads the pack and checks that its files belong together.
            translated { modelId(to.path) }
            sync(to)
        }

        private suspend fun copyBase(base: BundledBase, to: File) {
            base.open().use { copy(it, to) }
            Magpie.verifyCatalog(to)
        }

        /** Gives what [write] writes its name once it is complete. */
        private suspend fun write(root: File, to: File, write: suspend (File) -> Unit) {
            val unfinished = root.resolve(UNFINISHED)
            unfinished.deleteRecursively()
            try {
                root.mkdirs()
                write(unfinished)
                if (!unfinished.renameTo(to)) throw IOException("cannot rename $unfinished")
                sync(root)
            } finally {
                unfinished.deleteRecursively()
            }
        }

        /** Limits the removal to our own files; the root may hold others. */
        private fun File.isOurs() = name == UNFINISHED || name.startsWith(MODEL) || name.startsWith(BASE)

        private fun ByteArray.digest(): String {
            val hash = MessageDigest.getInstance("SHA-256").digest(this)
            return hash.take(16).joinToString("") { "%02x".format(it) }
        }
    }
}

/**
 * A shard that comes with an app.
 *
 * @property name a name for its contents: another one for other contents, such as its name in the release's folder
 * `files`
 * @property open opens it
 */
public class BundledBase(public val name: String, public val open: () -> InputStream)
