package dev.magpie

import java.io.File
import java.io.IOException
import java.io.InputStream
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread

/** A `magpie-server` in its own process, on a free port. */
internal class RealServer(shard: File, vararg settings: String) : AutoCloseable {
    private val process: Process

    val url: String

    init {
        val program = File(System.getProperty("jna.library.path")).resolve("magpie-server").path
        // The tests share the machine, so a search may have to wait for a thread.
        val usual = listOf("--listen", "127.0.0.1:0", "--linger-ms", "0", "--max-wait-ms", "5000", "--log-json")
        val builder = ProcessBuilder(listOf(program, "--shards", shard.path) + usual + settings)
        process = builder.redirectErrorStream(true).start()
        val lines = LinkedBlockingQueue<String>()
        thread(isDaemon = true) {
            // Fails when the process is killed.
            runCatching { process.inputStream.bufferedReader().forEachLine { lines.add(it) } }
        }
        val line = generateSequence { lines.poll(30, TimeUnit.SECONDS) }.firstOrNull { "\"serving\"" in it }
        val address = Regex("127\\.0\\.0\\.1:\\d+").find(line.orEmpty())
        url = "http://" + checkNotNull(address) { "no address in the log line: $line" }.value
    }

    override fun close() {
        process.destroy()
        process.waitFor()
    }
}

/** A server that runs [behave] for each connection, after reading the request or at once. */
internal class BadServer(
    private val socket: ServerSocket = ServerSocket(0, 50, InetAddress.getLoopbackAddress()),
    private val reads: Boolean = true,
    private val behave: Socket.(number: Int) -> Unit,
) : AutoCloseable {
    private val count = AtomicInteger()
    private val open = LinkedBlockingQueue<Socket>()

    val url = "http://127.0.0.1:${socket.localPort}"

    /** Number of requests received. */
    val asked: Int get() = count.get()

    /** Heads of the received requests. */
    val heads = LinkedBlockingQueue<String>()

    /** One item for each closed connection. */
    val ended = LinkedBlockingQueue<Unit>()

    init {
        thread(isDaemon = true) {
            while (true) {
                val connection = try {
                    socket.accept()
                } catch (_: IOException) {
                    break
                }
                open.add(connection)
                thread(isDaemon = true) { connection.use { serve(it) } }
            }
        }
    }

    private fun serve(connection: Socket) = try {
        if (reads) heads.add(connection.getInputStream().request())
        connection.behave(count.getAndIncrement())
    } catch (_: IOException) {
        // The client has disconnected.
    } finally {
        ended.add(Unit)
    }

    override fun close() {
        socket.close()
        open.forEach { it.close() }
    }

    companion object {
        /** Reads a request and returns its head. */
        private fun InputStream.request(): String {
            val head = StringBuilder()
            while (!head.endsWith("\r\n\r\n")) {
                val byte = read()
                if (byte < 0) throw IOException("the request ended")
                head.append(byte.toChar())
            }
            val length = Regex("(?i)content-length: (\\d+)").find(head)?.groupValues?.get(1)?.toInt() ?: 0
            readNBytes(length)
            return head.toString()
        }

        fun response(status: Int, body: String, more: String = ""): ByteArray =
            "HTTP/1.1 $status Status\r\n${more}content-length: ${body.length}\r\n\r\n$body".toByteArray()
    }
}

internal fun Socket.say(bytes: ByteArray) = getOutputStream().run {
    write(bytes)
    flush()
}

/** Waits until the other side closes the connection. */
internal fun Socket.waitForTheEnd() {
    while (getInputStream().read() >= 0) continue
}
