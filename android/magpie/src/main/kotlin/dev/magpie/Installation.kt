package dev.magpie

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.nio.channels.FileChannel
import java.nio.file.StandardOpenOption.READ

/**
 * A model pack and its catalogue, installed where an engine can open them.
 *
 * ```kotlin
 * val files = mapOf(
 *     "catalog.magpie" to { download.inputStream() },
 *     "model/manifest.json" to { assets.open("model/manifest.json") },
 *     "model/model.onnx" to { assets.open("model/model.onnx") }
 * )
 * val engine = Installation.install(folder, version = "2026-11-23", files).open()
 * ```
 *
 * @property modelFolder folder of the model pack
 * @property catalogFile the catalogue shard
 */
public class Installation private constructor(public val modelFolder: File, public val catalogFile: File) {
    /** Opens the installed model and catalogue; see [SearchEngine.open]. */
    public suspend fun open(dispatcher: CoroutineDispatcher = Dispatchers.Default): SearchEngine =
        SearchEngine.open(modelFolder, catalogFile, dispatcher = dispatcher)

    public companion object {
        /** The name of the catalogue file in an installation. */
        public const val CATALOG: String = "catalog.magpie"

        /** The name of the model pack's folder in an installation. */
        public const val MODEL: String = "model"

        private const val INSTALLED = "installed-"
        private const val UNFINISHED = "unfinished-"
        private val plain = Regex("[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*")
        private val installing = Mutex()

        /**
         * Installs a version unless it is installed already, and then removes all other versions. The operation is
         * atomic: files are written to a temporary folder, flushed to disk, verified, and renamed together. If anything
         * fails, the installed version stays. An open engine keeps working after its files are removed.
         *
         * @param root a folder for this purpose alone; created if missing
         * @param version a name for this set of files: letters, digits, `.`, `_` and `-`
         * @param files the sources of [CATALOG] and of the files in [MODEL], each opened once
         * @throws MagpieException.File if a file cannot be read or written
         * @throws MagpieException.Catalog if the catalogue is damaged
         * @throws MagpieException.Model if the model is invalid, or the catalogue was built with another model
         */
        public suspend fun install(
            root: File,
            version: String,
            files: Map<String, () -> InputStream>,
            dispatcher: CoroutineDispatcher = Dispatchers.IO,
        ): Installation {
            require(plain.matches(version)) { "invalid version name: '$version'" }
            for (name in files.keys) {
                require(name.split("/").all { plain.matches(it) }) { "invalid file name: '$name'" }
            }
            // One at a time: another installation would remove the files that this one is writing.
            return installing.withLock {
                withContext(dispatcher) {
                    val folder = root.resolve(INSTALLED + version)
                    try {
                        if (!folder.isDirectory) write(root, root.resolve(UNFINISHED + version), folder, files)
                        val old = root.listFiles { file -> file.isInstalled() && file != folder }
                        old?.forEach { it.deleteRecursively() }
                    } catch (e: IOException) {
                        throw MagpieException.File("cannot install into $root: ${e.message}", e)
                    }
                    at(folder)
                }
            }
        }

        private fun at(folder: File) = Installation(folder.resolve(MODEL), folder.resolve(CATALOG))

        /** Limits the removal to our own folders; the root may hold other files. */
        private fun File.isInstalled() = name.startsWith(INSTALLED) || name.startsWith(UNFINISHED)

        private suspend fun write(root: File, unfinished: File, folder: File, files: Map<String, () -> InputStream>) {
            unfinished.deleteRecursively()
            try {
                for ((name, open) in files) {
                    open().use { copy(it, unfinished.resolve(name)) }
                }
                val written = at(unfinished)
                Magpie.verifyCatalog(written.catalogFile)
                // Opening loads the model and checks that the catalogue was built with it.
                written.open().close()
                unfinished.walkBottomUp().filter { it.isDirectory }.forEach { sync(it) }
                if (!unfinished.renameTo(folder)) throw IOException("cannot rename $unfinished")
                sync(root)
            } finally {
                unfinished.deleteRecursively()
            }
        }
    }
}

/** Writes a new file and flushes it to disk. */
internal suspend fun copy(from: InputStream, to: File) {
    to.parentFile?.mkdirs()
    FileOutputStream(to).use { out ->
        val buffer = ByteArray(1 shl 16)
        while (true) {
            currentCoroutineContext().ensureActive()
            val read = from.read(buffer)
            if (read < 0) break
            out.write(buffer, 0, read)
        }
        out.fd.sync()
    }
}

/** Flushes a directory's entries to disk. */
internal fun sync(folder: File) = FileChannel.open(folder.toPath(), READ).use { it.force(true) }
