package dev.magpie

import com.sun.net.httpserver.HttpExchange
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeEach
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.time.Clock
import java.time.Duration
import java.time.Instant
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration.Companion.milliseconds

/** Whatever a server does, what is installed stays, and an update from a good server ends well afterwards. */
class BadReleaseTest {
    @TempDir
    lateinit var root: File

    private val catalog by lazy { Catalog.open(root.resolve("catalog")) }
    private val size = Releases.base.length().toInt()

    private val File.isPart get() = parentFile.name == "files"

    @BeforeEach
    fun `nothing is installed`() = suspending { assertEquals(null, catalog.current()) }

    @AfterEach
    fun `a good server helps`() = suspending {
        catalog.update(Releases.second)
        assertEquals(2L, catalog.verify(Releases.trust).sequence)
    }

    /** Answers requests for the base, or for all of its files. */
    private fun host(release: File = Releases.first, behave: ReleaseHost.(HttpExchange, File) -> Unit) =
        ReleaseHost(release) { exchange, file -> file.isPart.also { if (it) behave(exchange, file) } }

    private fun download(host: ReleaseHost, options: UpdateOptions = Releases.options): String {
        val error = assertThrows<MagpieException.Download> { suspending { host.use { catalog.update(it, options) } } }
        return error.message.orEmpty()
    }

    @Test
    fun `connections that are cut at every tenth of a file`() = suspending {
        val tenth = size / 10 + 1
        host { exchange, file -> exchange.send(file, most = tenth) }.use { host ->
            assertTrue(catalog.update(host) is UpdateProgress.Installed)
            assertEquals((0..9).map { "files/${Releases.base.name} bytes=${it * tenth}-" }, host.asked.drop(1))
            assertEquals(size.toLong(), host.sent.get())
        }
    }

    @Test
    fun `a server without ranges`() = suspending {
        val count = AtomicInteger()
        host { exchange, file ->
            val most = if (count.getAndIncrement() == 0) size / 2 else size
            exchange.send(file, most, status = 200)
        }.use { host ->
            val steps = catalog.steps(host)
            assertTrue(steps.last() is UpdateProgress.Installed)
            assertEquals(size + size / 2L, host.sent.get())
            assertTrue(steps.filterIsInstance<UpdateProgress.Downloading>().all { it.received in 0..size })
        }
    }

    @Test
    fun `a server without ranges whose connections are cut at the same place`() {
        val host = host { exchange, file -> exchange.send(file, most = size / 2, status = 200) }
        assertTrue("ended after ${size / 2}" in download(host))
        // The first brought something, three brought nothing new.
        assertEquals(5, host.asked.size)
    }

    @Test
    fun `wrong bytes`() {
        val host = host { exchange, _ ->
            exchange.sendResponseHeaders(200, size.toLong())
            exchange.responseBody.write(ByteArray(size))
        }
        assertTrue("hash" in download(host))
        assertEquals(4, host.asked.size)
    }

    @Test
    fun `another length`() {
        assertTrue(
            "ended" in download(
                host { exchange, _ ->
                    exchange.sendResponseHeaders(200, 3)
                    exchange.responseBody.write(ByteArray(3))
                },
            ),
        )
        assertTrue(
            "more than" in download(
                host { exchange, _ ->
                    exchange.sendResponseHeaders(200, size + 1L)
                    exchange.responseBody.write(ByteArray(size + 1))
                },
            ),
        )
    }

    @Test
    fun `bodies that never end`() {
        val endless: ReleaseHost.(HttpExchange, File) -> Unit = { exchange, _ ->
            exchange.sendResponseHeaders(200, 0)
            while (true) exchange.responseBody.write(ByteArray(1 shl 16))
        }
        assertTrue("more than" in download(host(behave = endless)))
        val host = ReleaseHost(Releases.first) { exchange, file ->
            endless(exchange, file)
            true
        }
        assertTrue("manifest has more than" in download(host))
    }

    @Test
    fun `redirects are refused`() {
        ReleaseHost(Releases.first).use { target ->
            for (isPart in listOf(true, false)) {
                val host = ReleaseHost(Releases.first) { exchange, file ->
                    if (file.isPart != isPart) return@ReleaseHost false
                    exchange.responseHeaders.add("location", "${target.url}/${file.name}")
                    exchange.sendResponseHeaders(302, -1)
                    true
                }
                assertTrue("redirected" in download(host))
            }
            assertTrue(target.asked.isEmpty())
        }
    }

    @Test
    fun `servers that are silent, fail, or are gone`() {
        val impatient = Releases.options.copy(patience = 500.milliseconds)
        download(host { _, _ -> TimeUnit.MINUTES.sleep(1) }, impatient)
        val failing = host { exchange, _ -> exchange.sendResponseHeaders(503, -1) }
        assertTrue("503" in download(failing))
        val missing = host { exchange, _ -> exchange.sendResponseHeaders(404, -1) }
        assertTrue("404" in download(missing))
        assertEquals(2, missing.asked.size)
        assertTrue("URL of a release" in download(ReleaseHost(root)))
        val gone = ReleaseHost(Releases.first).also { it.close() }
        assertThrows<MagpieException.Download> { suspending { catalog.update(gone) } }
    }

    @Test
    fun `a transport that ignores cancellation does not delay the end`() = suspending {
        val deaf = DownloadTransport { _, _ -> Thread.sleep(60_000) }
        val server = ReleaseServer("http://127.0.0.1:1", transport = deaf)
        val impatient = Releases.options.copy(patience = 50.milliseconds)
        assertThrows<MagpieException.Download> { catalog.update(server, Releases.trust, impatient).collect() }
    }

    @Test
    fun `manifests that expired, are older, or are no manifests`() = suspending {
        val later = Clock.fixed(Instant.now() + Duration.ofDays(31), Clock.systemUTC().zone)
        ReleaseHost(Releases.first).use { host ->
            assertThrows<MagpieException.Outdated> { catalog.update(host, Releases.options.copy(clock = later)) }
        }
        catalog.update(Releases.second)
        ReleaseHost(Releases.first).use { host ->
            assertThrows<MagpieException.Outdated> { catalog.update(host) }
        }
        assertEquals(2L, catalog.current()?.sequence)
        val page = ReleaseHost(Releases.first) { exchange, _ ->
            exchange.sendResponseHeaders(200, 0)
            exchange.responseBody.write("<html>".toByteArray())
            true
        }
        page.use { assertThrows<MagpieException.Download> { catalog.update(it) } }
    }

    @Test
    fun `other keys, another catalogue, another model`() = suspending {
        ReleaseHost(Releases.first).use { host ->
            assertThrows<MagpieException.Untrusted> { catalog.update(host, trust = Releases.stranger) }
            assertEquals(listOf("manifest", "keys-2"), host.asked.toList())
            val named = Releases.options.copy(name = "another")
            assertThrows<MagpieException.NotForThisApp> { catalog.update(host, named) }
            val fast = Releases.options.copy(modelFolder = Releases.fastPack)
            assertThrows<MagpieException.NotForThisApp> { catalog.update(host, fast) }
        }
    }

    @Test
    fun `a scheduler is told whether to try again`() = suspending {
        val reported = mutableListOf<MagpieException>()
        suspend fun run(host: ReleaseHost, trust: Trust = Releases.trust, options: UpdateOptions = Releases.options) =
            host.use { catalog.updateInBackground(ReleaseServer(it.url), trust, options) { e -> reported.add(e) } }
        val offline = Releases.options.copy(connectivity = { Connectivity.OFFLINE })
        assertEquals(BackgroundUpdate.LATER, run(ReleaseHost(Releases.first), options = offline))
        assertEquals(emptyList<MagpieException>(), reported)
        assertEquals(BackgroundUpdate.LATER, run(ReleaseHost(root)))
        assertEquals(BackgroundUpdate.FAILED, run(ReleaseHost(Releases.first), Releases.stranger))
        assertTrue(reported[0] is MagpieException.Download && reported[1] is MagpieException.Untrusted)
        assertEquals(BackgroundUpdate.DONE, run(ReleaseHost(Releases.first)))
        assertEquals(2, reported.size)
    }

    @Test
    fun `one update at a time`() = suspending {
        host { _, _ -> TimeUnit.MINUTES.sleep(1) }.use { slow ->
            catalog.update(ReleaseServer(slow.url), Releases.trust, Releases.options).first {
                assertThrows<MagpieException.Busy> { Catalog.open(catalog.folder).update(slow) }
                true
            }
        }
    }

    @Test
    fun `settings without sense are refused`() {
        val key = Releases.trust.keys.single()
        assertThrows<IllegalArgumentException> { Trust(emptyList()) }
        assertThrows<IllegalArgumentException> { Trust(listOf(key, key), threshold = 2) }
        assertThrows<IllegalArgumentException> { Trust(listOf(key.uppercase() + "A")) }
        assertThrows<IllegalArgumentException> { ReleaseServer("https://user:secret@shop.example") }
        assertThrows<IllegalArgumentException> { UpdateOptions(keepFree = -1) }
    }
}
