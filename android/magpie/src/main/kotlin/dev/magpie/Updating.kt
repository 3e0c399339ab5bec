package dev.magpie

import kotlinx.coroutines.delay
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import dev.magpie.internal.CatalogUpdate as RustUpdate
import dev.magpie.internal.UpdateFetch as RustFetch
import dev.magpie.internal.UpdatePlan as RustPlan

/** Performs an update: fetches what Rust asks for. */
internal class Updating(
    private val update: RustUpdate,
    private val folder: File,
    private val options: UpdateOptions,
    private val requests: ReleaseRequests,
    private val emit: (UpdateProgress) -> Unit,
) {
    /** Bytes received so far, less what had to begin anew. */
    @Volatile
    private var received = 0L

    suspend fun run(): UpdateProgress {
        if (options.connectivity() == Connectivity.OFFLINE) return UpdateProgress.Postponed(0)
        val plan = begin()
        val total = plan.bytes.toLong()
        val (free, needed) = Pair(folder.usableSpace, plan.space.toLong())
        if (needed > 0 && free - options.keepFree < needed) {
            throw MagpieException.NoSpace("$needed bytes are needed and ${options.keepFree} kept free, $free are free")
        }
        val tries = Tries()
        while (true) {
            val fetch = translated { update.nextFetch() } ?: break
            val left = (total - received).coerceAtLeast(0)
            if (isPostponed(left)) return UpdateProgress.Postponed(left)
            emit(progress(total))
            val before = received - fetch.offset.toLong()
            val failure = attempt(fetch, before, total)
            val next = translated { update.nextFetch() }
            // Rust throws wrong bytes away, with all that there was of the file.
            if (failure != null && next != null && next.path == fetch.path) received = before + next.offset.toLong()
            tries.count(fetch, failure, next)
        }
        emit(progress(total))
        return UpdateProgress.Installed(translated { update.install() }.public(), isNew = !plan.isInstalled)
    }

    private fun progress(total: Long) = UpdateProgress.Downloading(received.coerceIn(0, total), total)

    private fun isPostponed(left: Long) = when (options.connectivity()) {
        Connectivity.OFFLINE -> true
        Connectivity.METERED -> left > options.mostMeteredBytes
        Connectivity.UNMETERED -> false
    }

    /** Fetches the manifest, and keys documents while it is signed by newer keys. */
    private suspend fun begin(): RustPlan {
        val path = update.manifestPath()
        val manifest = requests.document(path)
            ?: throw MagpieException.Download("there is no $path; is this the URL of a release?")
        while (true) {
            try {
                val now = options.clock.instant().epochSecond.coerceAtLeast(0).toULong()
                return translated { ByteBuffer.wrap(manifest).borrowed { update.manifest(it, now) } }
            } catch (e: MagpieException.Untrusted) {
                val keys = requests.document(translated { update.keysPath() }) ?: throw e
                translated { ByteBuffer.wrap(keys).borrowed { update.addKeys(it) } }
            }
        }
    }

    /**
     * Fetches the rest of a file, as far as it comes. Returns why no more came, or null if it is complete.
     *
     * @param before bytes received of other files
     */
    private suspend fun attempt(fetch: RustFetch, before: Long, total: Long): IOException? = try {
        requests.file(fetch.path, fetch.offset.toLong()) { reply, begins, moved ->
            reply.read(begins, moved) { offset, piece ->
                val isComplete = receive(offset, piece)
                received = before + offset + piece.limit()
                emit(progress(total))
                isComplete
            }
        }
        null
    } catch (e: IOException) {
        e
    }

    /** Reads the body in pieces until [take] says that the file is complete. */
    private fun DownloadReply.read(begins: Long, moved: () -> Unit, take: (Long, ByteBuffer) -> Boolean) {
        val buffer = ByteArray(PIECE)
        val memory = ByteBuffer.allocateDirect(PIECE)
        var offset = begins
        while (true) {
            val count = body.read(buffer)
            if (count < 0) throw IOException("the body ended after $offset bytes")
            // Stops an abandoned request before it touches the update.
            moved()
            memory.clear()
            memory.put(buffer, 0, count).flip()
            if (take(offset, memory.slice())) return
            offset += count
        }
    }

    private fun receive(offset: Long, piece: ByteBuffer): Boolean = try {
        kept(piece) { translated { update.receive(offset.toULong(), piece) } }
    } catch (e: MagpieException.Download) {
        throw WrongBytes(e)
    }

    /** Ends an update that gets nowhere. */
    private inner class Tries {
        private var idle = 0
        private var wrong = 0
        private var path = ""
        private var furthest = 0UL

        /** Only bytes beyond the furthest ones count: a server without ranges may bring the same ones forever. */
        suspend fun count(fetch: RustFetch, failure: IOException?, next: RustFetch?) {
            if (fetch.path != path) furthest = fetch.offset
            path = fetch.path
            val end = next?.takeIf { it.path == path }?.offset ?: fetch.bytes
            idle = if (end > furthest) 0 else idle + 1
            furthest = maxOf(furthest, end)
            if (failure is WrongBytes) wrong++
            if (wrong >= TRIES || idle >= TRIES) throw requests.download(path, failure ?: IOException("no bytes came"))
            if (failure != null) delay(PAUSE * idle.coerceAtLeast(1))
        }
    }

    /** The bytes are not those of the file. */
    private class WrongBytes(cause: Exception) : IOException(cause.message, cause)

    private companion object {
        const val PIECE = 1 shl 16
    }
}
