package dev.magpie

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext
import java.io.File
import java.nio.ByteBuffer
import dev.magpie.internal.Cancellation as RustCancellation
import dev.magpie.internal.Engine as RustEngine
import dev.magpie.internal.InstalledOptions as RustInstalledOptions
import dev.magpie.internal.OpenOptions as RustOpenOptions

/**
 * A model and a catalogue built with it: finds the listings most similar to a photo, on the device.
 *
 * ```kotlin
 * SearchEngine.open(modelFolder, catalogFile).use { engine ->
 *     val results = engine.search(photo.readBytes(), SearchOptions(limit = 5))
 *     results.listings.forEach { println("${it.score} ${it["title"]}") }
 * }
 * ```
 *
 * Any number of coroutines and threads may use one engine at the same time. The work runs on the dispatcher given to
 * [open]; a cancelled coroutine stops its call at the next stage. [close] may be called while calls are running, which
 * then finish normally. Later calls throw [MagpieException.Closed].
 *
 * Photos are JPEG, PNG or WebP bytes. A direct [ByteBuffer] is read in place; a heap buffer or an array is copied once.
 * The bytes of a buffer are those from its position to its limit, neither of which changes.
 */
public class SearchEngine private constructor(
    private val engine: RustEngine,
    internal val dispatcher: CoroutineDispatcher,
) : AutoCloseable {
    @Volatile
    private var closed = false

    /** The opened model and catalogue; another one after [replaceCatalog]. */
    @Volatile
    public var info: EngineInfo = translated { engine.info() }.public()
        private set

    /** The installed catalogue that is searched; null for one that was opened as a file, or came with the app. */
    @Volatile
    public var installed: InstalledCatalog? = translated { engine.installed() }?.public()
        private set

    /**
     * Changes to what is installed in [catalog] now. Searches under way end on the catalogue before, and those that
     * begin later use the new one; neither waits. Returns what is searched from here on.
     *
     * @throws MagpieException.OtherModel if it is for another model than this engine's: open a new engine, which takes
     * both
     * @throws MagpieException.Catalog if nothing is installed, or it is damaged; this engine keeps its catalogue
     */
    public suspend fun replaceCatalog(catalog: Catalog): InstalledCatalog = call { engine, _ ->
        val replaced = engine.replaceCatalog(catalog.rust).public()
        synchronized(this) {
            info = engine.info().public()
            installed = engine.installed()?.public()
        }
        replaced
    }

    /**
     * Finds the listings most similar to a photo.
     *
     * @throws MagpieException.Photo if the photo or the crop is invalid
     * @throws MagpieException.Request if the filter cannot be parsed or names an unknown column
     * @throws MagpieException.Catalog if the catalogue is damaged
     */
    public suspend fun search(photo: ByteBuffer, options: SearchOptions = SearchOptions()): SearchResults {
        val bytes = photo.duplicate()
        return call { engine, cancel -> bytes.borrowed { engine.searchPhoto(it, options.rust(), cancel) }.public() }
    }

    /** Searches with a photo in an array, which is copied once. */
    public suspend fun search(photo: ByteArray, options: SearchOptions = SearchOptions()): SearchResults =
        search(ByteBuffer.wrap(photo), options)

    /**
     * Finds the listings most similar to a camera frame. See [live] for searching continuously with a camera.
     *
     * @throws MagpieException.Photo if the planes are too short for the frame, or the crop exceeds it; otherwise as for
     * a photo
     */
    public suspend fun search(frame: Frame, options: SearchOptions = SearchOptions()): SearchResults {
        val borrowed = frame.rust()
        return call { engine, cancel ->
            borrowed.borrowed { first, second, third, layout ->
                engine.searchFrame(first, second, third, layout, options.rust(), cancel)
            }.public()
        }
    }

    /**
     * Finds the listings most similar to one of the catalogue, which is left out. The crop is ignored.
     *
     * @throws MagpieException.Request if there is no such listing; otherwise as [search]
     */
    public suspend fun moreLike(listingId: String, options: SearchOptions = SearchOptions()): List<Listing> =
        call { engine, cancel -> engine.moreLike(listingId, options.rust(), cancel).map { it.public() } }

    /**
     * Computes the embedding of a photo, for comparisons and tests. Searches do not need it.
     *
     * @throws MagpieException.Photo if the photo or the crop is invalid
     */
    public suspend fun embed(photo: ByteBuffer, crop: Crop? = null): Embedding {
        val bytes = photo.duplicate()
        val options = SearchOptions(crop = crop).rust()
        return call { engine, cancel -> bytes.borrowed { engine.embedPhoto(it, options, cancel) }.public() }
    }

    /** Computes the embedding of a photo in an array, which is copied once. */
    public suspend fun embed(photo: ByteArray, crop: Crop? = null): Embedding = embed(ByteBuffer.wrap(photo), crop)

    /** Computes the embedding of a camera frame. */
    public suspend fun embed(frame: Frame, crop: Crop? = null): Embedding {
        val borrowed = frame.rust()
        val options = SearchOptions(crop = crop).rust()
        return call { engine, cancel ->
            borrowed.borrowed { first, second, third, layout ->
                engine.embedFrame(first, second, third, layout, options, cancel)
            }.public()
        }
    }

    /**
     * Returns the distinct words of a filter column, sorted, for example to offer them as chips. The list is empty if
     * the column holds numbers.
     *
     * @param most the largest number of words to return, at least 1
     * @throws MagpieException.Request if there is no such column
     */
    public suspend fun words(column: String, most: Int = 20): List<String> {
        require(most >= 1) { "most must be at least 1, not $most" }
        return call { engine, _ -> engine.words(column, most.toUInt()) }
    }

    /** Returns the thumbnail of the matching photo as a JPEG, or null if the catalogue has none of it. */
    public suspend fun thumbnail(listing: Listing): ByteArray? = thumbnail(listing.id, listing.photo)

    /**
     * Returns the thumbnail of one of a listing's photos as a JPEG, or null if the catalogue has none of it.
     *
     * @throws MagpieException.Request if there is no such listing
     */
    public suspend fun thumbnail(listingId: String, photo: String): ByteArray? =
        call { engine, _ -> engine.thumbnail(listingId, photo) }

    /**
     * Searches with a photo repeatedly and measures how long each stage takes.
     *
     * @param runs number of searches to measure, at least 1
     */
    public suspend fun benchmark(
        photo: ByteBuffer,
        runs: Int = 100,
        options: SearchOptions = SearchOptions(),
    ): Benchmark {
        require(runs >= 1) { "runs must be at least 1, not $runs" }
        val bytes = photo.duplicate()
        return call { engine, cancel ->
            bytes.borrowed { engine.benchmark(it, runs.toUInt(), options.rust(), cancel) }.public()
        }
    }

    /** Runs the benchmark with a photo in an array, which is copied once. */
    public suspend fun benchmark(
        photo: ByteArray,
        runs: Int = 100,
        options: SearchOptions = SearchOptions(),
    ): Benchmark = benchmark(ByteBuffer.wrap(photo), runs, options)

    /** Closes the engine. Running calls finish first, without [close] waiting for them. Closing twice is harmless. */
    override fun close() {
        closed = true
        engine.close()
    }

    /** Runs a Rust call, unless the engine is closed. */
    internal suspend fun <T> call(work: (RustEngine, RustCancellation) -> T): T {
        if (closed) throw MagpieException.Closed(CLOSED)
        return cancellable(dispatcher) { cancellation ->
            try {
                work(engine, cancellation)
            } catch (e: IllegalStateException) {
                // The generated code throws this if `close` came between the check above and the call.
                throw if (closed) MagpieException.Closed(CLOSED, e) else e
            }
        }
    }

    public companion object {
        private const val CLOSED = "the engine is closed"

        /**
         * Opens a model pack and a catalogue. Reads the model's files and maps the catalogue into memory, on
         * [dispatcher].
         *
         * @param modelFolder folder of the model pack: `manifest.json` and the network that it names
         * @param catalogFile the catalogue shard
         * @param threads number of threads for one run of the network; more than one helps large networks
         * @param inMemory reads the catalogue into memory instead of mapping it: needed if another process may shorten
         * the file while it is open
         * @param dispatcher runs this engine's calls
         * @throws MagpieException.File if a file cannot be read
         * @throws MagpieException.Catalog if the catalogue is invalid
         * @throws MagpieException.Model if the model is invalid, or the catalogue was built with another model
         * @throws MagpieException.Unsupported if there is no native library for this CPU
         */
        public suspend fun open(
            modelFolder: File,
            catalogFile: File,
            threads: Int = 1,
            inMemory: Boolean = false,
            dispatcher: CoroutineDispatcher = Dispatchers.Default,
        ): SearchEngine {
            require(threads >= 1) { "threads must be at least 1, not $threads" }
            val options = RustOpenOptions(modelFolder.path, catalogFile.path, threads.toUInt(), inMemory)
            return opened(dispatcher) { RustEngine.open(options) }
        }

        /**
         * Opens what is installed in [catalog], with the model pack that came with it or else the app's, on
         * [dispatcher].
         *
         * @param modelFolder folder of the app's model pack
         * @param bundledCatalog a shard that comes with the app, searched while nothing is installed, or only a
         * catalogue for the model of an earlier version of the app, or a damaged one; see [AppFiles]
         * @throws MagpieException.Catalog if nothing is installed or it is damaged, and there is no bundled one
         * @throws MagpieException.OtherModel if it is for another model than the app's, and there is no bundled one
         * @throws MagpieException as [open] with a file
         */
        public suspend fun open(
            modelFolder: File,
            catalog: Catalog,
            bundledCatalog: File? = null,
            threads: Int = 1,
            dispatcher: CoroutineDispatcher = Dispatchers.Default,
        ): SearchEngine {
            require(threads >= 1) { "threads must be at least 1, not $threads" }
            val options = RustInstalledOptions(modelFolder.path, bundledCatalog?.path, threads.toUInt())
            return opened(dispatcher) { RustEngine.openInstalled(catalog.rust, options) }
        }

        private suspend fun opened(dispatcher: CoroutineDispatcher, open: () -> RustEngine): SearchEngine {
            currentCoroutineContext().ensureActive()
            // Not cancellable: if the opened engine were dropped here, nobody would close it.
            val engine =
                withContext(NonCancellable + dispatcher) { translated { SearchEngine(open(), dispatcher) } }
            if (!currentCoroutineContext().isActive) engine.close()
            currentCoroutineContext().ensureActive()
            return engine
        }
    }
}
