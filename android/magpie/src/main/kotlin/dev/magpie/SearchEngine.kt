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
import dev.magpie.internal.OpenOptions as RustOpenOptions

/**
 * A model and a catalogue that was built with it: finds the listings most like a photo, on this device.
 *
 * ```kotlin
 * SearchEngine.open(modelFolder, catalogFile).use { engine ->
 *     val results = engine.search(photo.readBytes(), SearchOptions(limit = 5))
 *     results.listings.forEach { println("${it.score} ${it["title"]}") }
 * }
 * ```
 *
 * Any number of coroutines and threads may use one engine at once. The work is done on the dispatcher given to [open];
 * a cancelled coroutine ends its call at the next stage. [close] may be called while calls run: they end as if it had
 * not been. Calls after it throw [MagpieException.Closed].
 *
 * Photos are JPEG, PNG or WebP bytes. Rust reads a direct [ByteBuffer] where it is; a heap buffer or an array is copied
 * once. A buffer's bytes are those from its position to its limit; neither changes.
 */
public class SearchEngine private constructor(
    private val engine: RustEngine,
    internal val dispatcher: CoroutineDispatcher,
) : AutoCloseable {
    @Volatile
    private var closed = false

    /** What is open. */
    public val info: EngineInfo = translated { engine.info() }.public()

    /**
     * Finds the listings most like a photo.
     *
     * @throws MagpieException.Photo where photo or crop is of no use
     * @throws MagpieException.Request where the filter is not understood, or names a column that is not there
     * @throws MagpieException.Catalog where the catalogue is damaged
     */
    public suspend fun search(photo: ByteBuffer, options: SearchOptions = SearchOptions()): SearchResults {
        val bytes = photo.duplicate()
        return call { engine, cancel -> bytes.borrowed { engine.searchPhoto(it, options.rust(), cancel) }.public() }
    }

    /** The same for an array, which is copied once. */
    public suspend fun search(photo: ByteArray, options: SearchOptions = SearchOptions()): SearchResults =
        search(ByteBuffer.wrap(photo), options)

    /**
     * Finds the listings most like a camera frame. See [live] for searching while the camera looks around.
     *
     * @throws MagpieException.Photo where the planes are too short for the frame, or the crop leaves it; else as above
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
     * Finds the listings most like one of the catalogue, which is not among them. The crop does not matter.
     *
     * @throws MagpieException.Request where there is no such listing; else as [search]
     */
    public suspend fun moreLike(listingId: String, options: SearchOptions = SearchOptions()): List<Listing> =
        call { engine, cancel -> engine.moreLike(listingId, options.rust(), cancel).map { it.public() } }

    /**
     * The embedding of a photo, for comparisons and tests; searches do not need it.
     *
     * @throws MagpieException.Photo where photo or crop is of no use
     */
    public suspend fun embed(photo: ByteBuffer, crop: Crop? = null): Embedding {
        val bytes = photo.duplicate()
        val options = SearchOptions(crop = crop).rust()
        return call { engine, cancel -> bytes.borrowed { engine.embedPhoto(it, options, cancel) }.public() }
    }

    /** The same for an array, which is copied once. */
    public suspend fun embed(photo: ByteArray, crop: Crop? = null): Embedding = embed(ByteBuffer.wrap(photo), crop)

    /** The embedding of a camera frame. */
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
     * The words of a filter column, in order: what chips can offer. None where the column holds numbers.
     *
     * @param most words wanted, at least 1
     * @throws MagpieException.Request where there is no such column
     */
    public suspend fun words(column: String, most: Int = 20): List<String> {
        require(most >= 1) { "at least one word, not $most" }
        return call { engine, _ -> engine.words(column, most.toUInt()) }
    }

    /** The small picture of the photo that was found, as a JPEG; null where the catalogue has none of it. */
    public suspend fun thumbnail(listing: Listing): ByteArray? = thumbnail(listing.id, listing.photo)

    /**
     * The small picture of one of a listing's photos, as a JPEG; null where the catalogue has none of it.
     *
     * @throws MagpieException.Request where there is no such listing
     */
    public suspend fun thumbnail(listingId: String, photo: String): ByteArray? =
        call { engine, _ -> engine.thumbnail(listingId, photo) }

    /**
     * Searches with a photo again and again, and says how long each stage took.
     *
     * @param runs searches to measure, at least 1
     */
    public suspend fun benchmark(
        photo: ByteBuffer,
        runs: Int = 100,
        options: SearchOptions = SearchOptions(),
    ): Benchmark {
        require(runs >= 1) { "at least one run, not $runs" }
        val bytes = photo.duplicate()
        return call { engine, cancel ->
            bytes.borrowed { engine.benchmark(it, runs.toUInt(), options.rust(), cancel) }.public()
        }
    }

    /** The same for an array, which is copied once. */
    public suspend fun benchmark(
        photo: ByteArray,
        runs: Int = 100,
        options: SearchOptions = SearchOptions(),
    ): Benchmark = benchmark(ByteBuffer.wrap(photo), runs, options)

    /** Lets go of model and catalogue, once the calls that run have ended. Does not wait for them; may be repeated. */
    override fun close() {
        closed = true
        engine.close()
    }

    /** A call of Rust's, unless the engine is closed. */
    internal suspend fun <T> call(work: (RustEngine, RustCancellation) -> T): T {
        if (closed) throw MagpieException.Closed(CLOSED)
        return cancellable(dispatcher) { cancellation ->
            try {
                work(engine, cancellation)
            } catch (e: IllegalStateException) {
                // The generated code's word for a call after `close`, which came between the test and the call.
                throw if (closed) MagpieException.Closed(CLOSED, e) else e
            }
        }
    }

    public companion object {
        private const val CLOSED = "the engine is closed"

        /**
         * Opens a model pack and a catalogue. Reads the model's files and maps the catalogue, on [dispatcher].
         *
         * @param modelFolder folder of the model pack: `manifest.json` and the network that it names
         * @param catalogFile the catalogue shard
         * @param threads threads that work on one run of the network; more than one helps large networks
         * @param inMemory reads the catalogue into memory instead of mapping it: for a file that others may shorten
         * @param dispatcher where this engine's calls run
         * @throws MagpieException.File where a file cannot be read
         * @throws MagpieException.Catalog where the catalogue is of no use
         * @throws MagpieException.Model where the model is of no use, or the catalogue was built with another
         * @throws MagpieException.Unsupported where there is no native library for this CPU
         */
        public suspend fun open(
            modelFolder: File,
            catalogFile: File,
            threads: Int = 1,
            inMemory: Boolean = false,
            dispatcher: CoroutineDispatcher = Dispatchers.Default,
        ): SearchEngine {
            require(threads >= 1) { "at least one thread, not $threads" }
            val options = RustOpenOptions(modelFolder.path, catalogFile.path, threads.toUInt(), inMemory)
            currentCoroutineContext().ensureActive()
            // Not cancellable: an engine that was opened has to arrive here, or nobody closes it.
            val engine =
                withContext(NonCancellable + dispatcher) {
                    translated { SearchEngine(RustEngine.open(options), dispatcher) }
                }
            if (!currentCoroutineContext().isActive) engine.close()
            currentCoroutineContext().ensureActive()
            return engine
        }
    }
}
