package dev.magpie

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.io.File
import java.io.IOException
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.net.SocketTimeoutException
import java.security.KeyFactory
import java.security.KeyStore
import java.security.cert.CertificateFactory
import java.security.cert.X509Certificate
import java.security.spec.PKCS8EncodedKeySpec
import java.util.Base64
import java.util.concurrent.TimeUnit
import javax.net.ssl.HttpsURLConnection
import javax.net.ssl.KeyManagerFactory
import javax.net.ssl.SSLContext
import javax.net.ssl.TrustManagerFactory
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource

/** Whatever the server does, the phone's listings arrive in time, with the reason for the failure. */
class BadServerTest {
    private val chair = Demo.photo("chair-02.jpg")
    private val ask = AskOptions(Connectivity.UNMETERED, deadline = 20.seconds)

    /** A short deadline, for servers that never answer. */
    private val short = ask.copy(deadline = 900.milliseconds)
    private val options = SearchOptions(limit = 20)

    /** Generous margin for a loaded machine: these tests do not measure time. */
    private val patience = 10.seconds

    private suspend fun SearchEngine.outcome(server: CatalogServer, ask: AskOptions = this@BadServerTest.ask): Asked {
        val begun = TimeSource.Monotonic.markNow()
        val results = search(chair, server, ask, options)
        assertTrue(begun.elapsedNow() < ask.deadline + patience)
        val alone = search(chair, server, ask.copy(connectivity = Connectivity.OFFLINE), options)
        assertEquals(alone.listings, results.listings)
        assertTrue(results.listings.isNotEmpty() && results.listings.all { it.source == Listing.Source.SHARD })
        return checkNotNull(results.asked)
    }

    private suspend fun SearchEngine.failure(server: CatalogServer, ask: AskOptions = this@BadServerTest.ask): String {
        val failed = outcome(server, ask).outcome as AskOutcome.Failed
        assertTrue(failed.reason.isNotBlank())
        return failed.name
    }

    /** Returns the name of the failure and the number of requests that the server received. */
    private suspend fun SearchEngine.against(
        ask: AskOptions = this@BadServerTest.ask,
        behave: Socket.(Int) -> Unit,
    ): Pair<String, Int> = BadServer(behave = behave).use { failure(CatalogServer(it.url, "a-token"), ask) to it.asked }

    private fun empty(modelId: String) = """{"model_id": "$modelId", "catalog": "shop", "listings": []}"""

    @Test
    fun `servers that cannot be reached`() = withPhone { phone ->
        val free = ServerSocket(0).use { it.localPort }
        val asked = phone.outcome(CatalogServer("http://127.0.0.1:$free"))
        assertEquals("unreachable" to 3, (asked.outcome as AskOutcome.Failed).name to asked.requests)
        // Plain HTTP on a port where TLS is expected.
        BadServer(reads = false) { say(BadServer.response(404, "")) }.use { plain ->
            assertEquals("unreachable", phone.failure(CatalogServer(plain.url.replace("http", "https"))))
        }
    }

    @Test
    fun `servers that never answer cost no more than the deadline`() = withPhone { phone ->
        assertEquals("timed_out", phone.against(short) { waitForTheEnd() }.first)
        val dripping: Socket.(Int) -> Unit = {
            say("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".toByteArray())
            while (true) {
                say(" ".toByteArray())
                Thread.sleep(20)
            }
        }
        assertEquals("timed_out", phone.against(short, dripping).first)
    }

    @Test
    fun `broken connections are retried`() = withPhone { phone ->
        assertEquals("broken" to 3, phone.against { })
        assertEquals("broken" to 3, phone.against { setSoLinger(true, 0) })
        assertEquals("broken" to 3, phone.against { say(BadServer.response(200, "x".repeat(500)).copyOf(200)) })
        val reply = empty(phone.info.modelId)
        BadServer { number -> if (number == 1) say(BadServer.response(200, reply)) }.use { flapping ->
            val results = phone.search(chair, CatalogServer(flapping.url), ask, options)
            assertEquals(AskOutcome.Answered to 2, results.asked?.run { outcome to requests })
        }
    }

    @Test
    fun `invalid replies are rejected`() = withPhone { phone ->
        val says = { status: Int, body: String, more: String ->
            { socket: Socket, _: Int -> socket.say(BadServer.response(status, body, more)) }
        }
        val portal = "<html>Sign in to use this network</html>"
        assertEquals("bad_reply" to 1, phone.against(behave = says(200, portal, "")))
        assertEquals("broken", phone.against { say(ByteArray(2000) { -1 }) }.first)
        assertEquals("wrong_model" to 1, phone.against(behave = says(200, empty("09".repeat(32)), "")))
        assertEquals("wrong_model" to 1, phone.against(behave = says(409, "", "")))
        assertEquals("refused" to 1, phone.against(behave = says(401, "", "www-authenticate: Basic realm=\"x\"\r\n")))
        assertEquals("refused" to 1, phone.against(behave = says(404, portal, "")))
        assertEquals("server_error" to 3, phone.against(behave = says(500, portal, "")))
        assertEquals("busy" to 1, phone.against(behave = says(503, "", "retry-after: 100\r\n")))
        // Redirects are not followed.
        BadServer { }.use { elsewhere ->
            val location = "location: ${elsewhere.url}/v1/search\r\n"
            assertEquals("refused" to 1, phone.against(behave = says(307, "", location)))
            assertEquals(0, elsewhere.asked)
        }
        // An endless body, sent as fast as possible.
        val endless: Socket.(Int) -> Unit = {
            say("HTTP/1.1 200 OK\r\ncontent-length: 2000000000\r\n\r\n".toByteArray())
            while (true) say(ByteArray(1 shl 16) { ' '.code.toByte() })
        }
        assertEquals("too_large" to 1, phone.against(behave = endless))
    }

    @Test
    fun `an untrusted certificate is reported and not retried`() = withPhone { phone ->
        val sockets = Tls.context.serverSocketFactory
        val socket = sockets.createServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))
        BadServer(socket) { say(BadServer.response(404, "")) }.use { server ->
            val url = server.url.replace("http", "https")
            // On a metered network no second request is sent while a slow handshake is under way.
            val asked = phone.outcome(CatalogServer(url), ask.copy(connectivity = Connectivity.METERED))
            assertEquals("untrusted" to 1, (asked.outcome as AskOutcome.Failed).name to asked.requests)
            val trusting = UrlConnectionTransport { (it as HttpsURLConnection).sslSocketFactory = Tls.trusting }
            assertEquals("refused", phone.failure(CatalogServer(url, transport = trusting)))
            // The certificate is issued for the address, not for the name.
            val renamed = CatalogServer(url.replace("127.0.0.1", "localhost"), transport = trusting)
            assertEquals("untrusted", phone.failure(renamed))
        }
    }

    @Test
    fun `the circuit breaker opens for a server that keeps failing`() = withPhone { phone ->
        BadServer { }.use { breaking ->
            val server = CatalogServer(breaking.url)
            repeat(2) { phone.failure(server) }
            assertEquals(Asked(AskReason.SERVER_RESTING, AskOutcome.NotAsked, 0, 0.seconds), phone.outcome(server))
            assertEquals(6, breaking.asked)
        }
    }

    @Test
    fun `cancelling ends the search and closes the connection`() = withPhone { phone ->
        BadServer { waitForTheEnd() }.use { silent ->
            val search = async(Dispatchers.Default) {
                phone.search(chair, CatalogServer(silent.url), ask.copy(deadline = 60.seconds), options)
            }
            while (silent.heads.isEmpty()) delay(5.milliseconds)
            withTimeout(patience) { search.cancelAndJoin() }
            assertThrows<CancellationException> { search.await() }
            assertNotNull(silent.ended.poll(patience.inWholeSeconds, TimeUnit.SECONDS), "the connection stays open")
            // A collector that stops after the first emission.
            val patient = ask.copy(deadline = 60.seconds)
            val updates = phone.searchUpdates(chair, CatalogServer(silent.url), patient, options)
            assertEquals(AskOutcome.Pending, withTimeout(patience) { updates.first() }.asked?.outcome)
        }
        assertTrue(phone.search(chair).listings.isNotEmpty())
    }

    @Test
    fun `a request contains what it needs and no more`() = withPhone { phone ->
        BadServer { say(BadServer.response(404, "")) }.use { server ->
            phone.failure(CatalogServer(server.url + "/shop/", "a-token"))
            val head = server.heads.take().lowercase()
            assertTrue(head.startsWith("post /shop/v1/search http/1.1"), head)
            val expected = listOf("content-type: application/json", "authorization: bearer a-token")
            for (line in expected + "accept: application/json") assertTrue(line in head, head)
            assertTrue(Regex("magpie-deadline-ms: [1-9][0-9]{0,3}\r").containsMatchIn(head), head)
        }
    }

    @Test
    fun `an app can use its own transport`() = withPhone { phone ->
        val seen = mutableListOf<HttpRequest>()
        val reply = empty(phone.info.modelId).toByteArray()
        val own = HttpTransport {
            seen.add(it)
            HttpReply(200, null, reply)
        }
        val server = CatalogServer("https://shop.example", "a-token", own)
        val results = phone.search(chair, server, ask, options)
        assertEquals(AskOutcome.Answered to 1, results.asked?.run { outcome to requests })
        val request = seen.single()
        assertEquals("https://shop.example/v1/search", request.url)
        assertEquals("Bearer a-token", request.headers["authorization"])
        assertTrue(request.body.decodeToString().startsWith("{\"model_id\":\"${phone.info.modelId}\""))
        assertTrue(request.timeout <= ask.deadline && request.maxReplyBytes > 1 shl 20)
    }

    @Test
    fun `whatever a transport throws or ignores, the phone's listings arrive`() = withPhone { phone ->
        val failure: suspend (HttpTransport) -> String = {
            phone.failure(CatalogServer("https://a.example", transport = it), short)
        }
        assertEquals("broken", failure { throw IOException("cut") })
        assertEquals("broken", failure { error("a mistake") })
        assertEquals("broken", failure { throw CancellationException("a mistake") })
        assertEquals("timed_out", failure { throw SocketTimeoutException() })
        assertEquals("timed_out", failure { withTimeout(1.milliseconds) { awaitCancellation() } })
        assertEquals("unreachable", failure { throw SecurityException("no permission") })
        assertEquals("too_large", failure { throw ReplyTooLargeException() })
        assertEquals("too_large", failure { HttpReply(200, null, ByteArray(it.maxReplyBytes + 1)) })
        assertEquals("refused", failure { HttpReply(-1, null, ByteArray(0)) })
        assertEquals("timed_out", failure { awaitCancellation() })
        // Ignores cancellation.
        assertEquals("timed_out", failure { Thread.sleep(5000).let { error("late") } })
    }
}

/** The certificates of the CLI tests. */
private object Tls {
    private val folder = Demo.root.resolve("cli/tests/tls")

    private fun certificate(name: String): X509Certificate = folder.resolve(name).inputStream().use {
        CertificateFactory.getInstance("X.509").generateCertificate(it) as X509Certificate
    }

    private fun key(file: File) = file.readLines().filterNot { it.startsWith("-----") }.joinToString("").let {
        KeyFactory.getInstance("EC").generatePrivate(PKCS8EncodedKeySpec(Base64.getDecoder().decode(it)))
    }

    private fun store() = KeyStore.getInstance(KeyStore.getDefaultType()).apply { load(null) }

    /** The context of a server with the test certificate. */
    val context: SSLContext by lazy {
        val store = store()
        store.setKeyEntry("server", key(folder.resolve("server.key")), CharArray(0), arrayOf(certificate("server.pem")))
        val keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm())
        keys.init(store, CharArray(0))
        SSLContext.getInstance("TLS").apply { init(keys.keyManagers, null, null) }
    }

    /** The socket factory of an app that trusts the test authority. */
    val trusting by lazy {
        val store = store().apply { setCertificateEntry("authority", certificate("authority.pem")) }
        val trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm()).apply { init(store) }
        SSLContext.getInstance("TLS").apply { init(null, trust.trustManagers, null) }.socketFactory
    }
}
