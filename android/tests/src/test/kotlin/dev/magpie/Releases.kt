package dev.magpie

import com.sun.net.httpserver.HttpExchange
import com.sun.net.httpserver.HttpServer
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.flow.toList
import java.io.File
import java.io.IOException
import java.net.InetAddress
import java.net.InetSocketAddress
import java.util.concurrent.Executors
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.atomic.AtomicLong
import kotlin.time.Duration.Companion.seconds

/** Releases that `magpie publish` wrote, see `xtask/src/releases.rs`. */
internal object Releases {
    private val folder = Demo.data.resolve("releases")

    /** A base. */
    val first = folder.resolve("first")

    /** A delta with another price of `mug-01`. */
    val second = folder.resolve("second")

    /** The same, signed by a key that follows the shop's. */
    val rotated = folder.resolve("rotated")

    /** A base of another model, which brings its pack. */
    val fast = folder.resolve("fast")

    val trust = trust("shop.key.pub")
    val stranger = trust("new.key.pub")

    /** The model pack of `fast`, which a release of the default model does not fit. */
    val fastPack = Demo.root.resolve("models/packs/fast")

    val options = UpdateOptions(Demo.pack, patience = 20.seconds)

    /** The base of `first`. */
    val base: File by lazy { checkNotNull(first.resolve("files").listFiles()).single() }

    private fun trust(name: String) = Trust(listOf(folder.resolve(name).readText().trim()))
}

/** Serves a release. [behave] answers a request itself, or returns false. */
internal class ReleaseHost(
    @Volatile var folder: File,
    private val behave: ReleaseHost.(HttpExchange, File) -> Boolean = { _, _ -> false },
) : AutoCloseable {
    private val threads = Executors.newCachedThreadPool { Thread(it).apply { isDaemon = true } }
    private val server = HttpServer.create(InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0)

    /** Paths that were asked for, with their ranges. */
    val asked = LinkedBlockingQueue<String>()

    /** Bytes of files that were sent. */
    val sent = AtomicLong()

    val url = "http://127.0.0.1:${server.address.port}/release"

    init {
        server.executor = threads
        server.createContext("/release/") { exchange -> exchange.use { serve(it) } }
        server.start()
    }

    private fun serve(exchange: HttpExchange) {
        val path = exchange.requestURI.path.removePrefix("/release/")
        asked.add("$path ${exchange.requestHeaders.getFirst("range").orEmpty()}".trim())
        val file = folder.resolve(path)
        try {
            if (behave(exchange, file)) return
            if (file.isFile) exchange.send(file) else exchange.sendResponseHeaders(404, -1)
        } catch (_: IOException) {
            // The client has disconnected.
        }
    }

    /** Where the asked range begins. */
    fun HttpExchange.offset(): Int =
        requestHeaders.getFirst("range")?.removePrefix("bytes=")?.substringBefore("-")?.toInt() ?: 0

    /** Sends a file, or as many bytes of it as [most] says before the connection is cut. */
    fun HttpExchange.send(file: File, most: Int = Int.MAX_VALUE, status: Int? = null) {
        val bytes = file.readBytes()
        val begin = if (status == 200) 0 else offset()
        if (begin > 0) responseHeaders.add("content-range", "bytes $begin-${bytes.size - 1}/${bytes.size}")
        sendResponseHeaders(status ?: if (begin > 0) 206 else 200, (bytes.size - begin).toLong())
        val count = minOf(bytes.size - begin, most)
        responseBody.write(bytes, begin, count)
        responseBody.flush()
        if (file.parentFile.name == "files") sent.addAndGet(count.toLong())
    }

    override fun close() {
        server.stop(0)
        threads.shutdownNow()
    }
}

/** Updates to what a server publishes, and returns how that ended. */
internal suspend fun Catalog.update(
    host: ReleaseHost,
    options: UpdateOptions = Releases.options,
    trust: Trust = Releases.trust,
): UpdateProgress = update(ReleaseServer(host.url), trust, options).last()

/** Updates to a release, and returns what is installed then. */
internal suspend fun Catalog.update(release: File, options: UpdateOptions = Releases.options): InstalledCatalog =
    ReleaseHost(release).use { (update(it, options) as UpdateProgress.Installed).catalog }

internal suspend fun Catalog.steps(host: ReleaseHost, options: UpdateOptions = Releases.options): List<UpdateProgress> =
    update(ReleaseServer(host.url), Releases.trust, options).toList()
