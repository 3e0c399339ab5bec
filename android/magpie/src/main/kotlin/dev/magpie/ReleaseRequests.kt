package dev.magpie

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withTimeoutOrNull
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.net.SocketTimeoutException
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

/** How often a request that brings nothing, or wrong bytes, is tried. */
internal const val TRIES = 3

/** How long to wait before the second try; longer before the third. */
internal val PAUSE: Duration = 250.milliseconds

private const val OK = 200
private const val PARTIAL = 206
private const val REQUEST_TIMEOUT = 408
private const val TOO_MANY_REQUESTS = 429
private val missing = setOf(404, 410)
private val redirections = 300..399
private val refusals = 400..499

/** Performs the single requests of an update. */
internal class ReleaseRequests(private val server: ReleaseServer, private val options: UpdateOptions) {
    /**
     * Fetches a manifest or keys document; null if the server does not have it.
     *
     * @throws MagpieException.Download if the server does not send it
     */
    suspend fun document(path: String): ByteArray? {
        var failures = 0
        while (true) {
            try {
                var document: ByteArray? = null
                get(path, range = null) { reply, moved ->
                    document = if (reply.status in missing) null else reply.document(path, moved)
                }
                return document
            } catch (e: IOException) {
                if (++failures >= TRIES) throw download(path, e)
                delay(PAUSE * failures)
            }
        }
    }

    private fun DownloadReply.document(path: String, moved: () -> Unit): ByteArray {
        if (status != OK) throw refusal(path)
        val limit = dev.magpie.internal.maxManifestBytes().toInt()
        val bytes = ByteArrayOutputStream()
        val buffer = ByteArray(1 shl 14)
        while (true) {
            val count = body.read(buffer)
            if (count < 0) return bytes.toByteArray()
            moved()
            bytes.write(buffer, 0, count)
            if (bytes.size() > limit) throw MagpieException.Download("$server/$path has more than $limit bytes")
        }
    }

    /**
     * Fetches a file from an offset on. [receive] gets the response, the offset of its first byte, and what to call
     * when bytes have come.
     *
     * @throws IOException if it may help to try again
     */
    suspend fun file(path: String, offset: Long, receive: (DownloadReply, Long, () -> Unit) -> Unit): Unit =
        get(path, "bytes=$offset-") { reply, moved ->
            val begins = when (reply.status) {
                // All of the file, whatever was asked for.
                OK -> 0

                PARTIAL -> reply.contentRange?.let { begin(it) } ?: offset

                else -> throw reply.refusal(path)
            }
            if (begins != 0L && begins != offset) throw IOException("bytes from $begins, asked for $offset")
            receive(reply, begins, moved)
        }

    private fun begin(contentRange: String) = beginning.matchEntire(contentRange)?.groupValues?.get(1)?.toLongOrNull()

    /** Another exception for what may pass by itself. */
    private fun DownloadReply.refusal(path: String): Exception = when (status) {
        REQUEST_TIMEOUT, TOO_MANY_REQUESTS -> IOException("status $status")
        in redirections -> MagpieException.Download("$server/$path is redirected (status $status), which is refused")
        in refusals -> MagpieException.Download("$server/$path is not available: status $status")
        else -> IOException("status $status")
    }

    fun download(path: String, cause: Exception): MagpieException =
        MagpieException.Download("$server/$path: ${cause.message}", cause)

    /** Performs a request, and abandons it when nothing has come for as long as the options say. */
    private suspend fun get(path: String, range: String?, receive: (DownloadReply, () -> Unit) -> Unit) {
        val count = AtomicLong()
        val isOver = AtomicBoolean()
        val moved = {
            if (isOver.get()) throw IOException("the request was abandoned")
            count.incrementAndGet()
            Unit
        }
        // Not a child: a transport that ignores cancellation must not delay the end of the update.
        val scope = CoroutineScope(Dispatchers.IO + SupervisorJob())
        val attempt = scope.async {
            server.transport.get(server.request(path, range, options.patience)) { receive(it, moved) }
        }
        try {
            do {
                val before = count.get()
                val isDone = withTimeoutOrNull(options.patience) { attempt.join() } != null
                if (!isDone &&
                    count.get() == before
                ) {
                    throw SocketTimeoutException("nothing came for ${options.patience}")
                }
            } while (!isDone)
            attempt.result()
        } finally {
            isOver.set(true)
            attempt.cancel()
        }
    }

    private suspend fun Deferred<Unit>.result() = try {
        await()
    } catch (e: CancellationException) {
        currentCoroutineContext().ensureActive()
        throw IOException("the transport has given up", e)
    } catch (e: SecurityException) {
        // Without the permission INTERNET.
        throw IOException(e.message, e)
    }

    private companion object {
        val beginning = Regex("bytes (\\d+)-.*")
    }
}
