package dev.magpie

import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.BeforeAll
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import org.junit.jupiter.api.io.TempDir
import java.io.File
import java.net.ServerSocket
import java.nio.ByteBuffer
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** A phone whose catalogue has only mugs, and a real server with the whole demo catalogue. */
class AskTest {
    private val chair = Demo.photo("chair-02.jpg")
    private val mug = Demo.photo("mug-01.jpg")
    private val ask = AskOptions(Connectivity.UNMETERED, deadline = 20.seconds)

    private fun SearchResults.sources() = listings.map { it.source }.toSet()

    @Test
    fun `the server finds what the phone does not have`() = withPhone { phone ->
        val results = phone.search(chair, CatalogServer(shop.url), ask, SearchOptions(limit = 20))
        val asked = checkNotNull(results.asked)
        assertEquals(AskOutcome.Answered, asked.outcome)
        assertTrue(asked.reason in setOf(AskReason.DOUBTFUL, AskReason.TOO_FEW), "$asked")
        assertTrue(asked.requests >= 1 && asked.time > Duration.ZERO, "$asked")
        val first = results.listings.first()
        assertTrue(first.id.startsWith("chair-") && first.source == Listing.Source.SERVER, "$first")
        assertEquals(20, results.listings.size)
        assertEquals(results.listings.sortedByDescending { it.score }, results.listings)
        // The server has every listing of the phone's shard, and a column that the phone lacks.
        assertTrue(Listing.Source.SHARD !in results.sources() && first["shop"] != null, "$results")
        assertNull(results.confidence)
        assertTrue(results.attributes.isNotEmpty() && results.times.network > Duration.ZERO)
    }

    @Test
    fun `phone and server score a listing alike`() = withPhone { phone ->
        val results = phone.search(mug, CatalogServer(shop.url), ask, SearchOptions(limit = 200, recall = 1f))
        val here = phone.search(mug, nobody, AskOptions(Connectivity.OFFLINE), SearchOptions(limit = 200, recall = 1f))
        val both = results.listings.filter { it.source == Listing.Source.BOTH }
        assertEquals(here.listings.map { it.id }, both.map { it.id })
        // Not bit-identical: each shard encodes its photos by itself.
        here.listings.zip(both).forEach { (one, other) -> assertEquals(one.score, other.score, 1e-3f) }
    }

    @Test
    fun `the server applies filters on columns that the phone lacks`() = withPhone { phone ->
        val options = SearchOptions(filter = column("shop") equalTo "Larkspur & Pine")
        val results = phone.search(mug, CatalogServer(shop.url), ask, options)
        assertEquals(AskReason.FILTER_UNKNOWN to AskOutcome.Answered, results.asked?.run { reason to outcome })
        assertEquals(setOf(Listing.Source.SERVER), results.sources())
        assertTrue(results.listings.all { it["shop"] == "Larkspur & Pine" })
        // The phone has nothing to show before the answer.
        assertEquals(1, phone.searchUpdates(mug, CatalogServer(shop.url), ask, options).toList().size)
        // If the server is not asked, the unknown column is an error of the app.
        for (alone in listOf(AskOptions(Connectivity.OFFLINE), ask.copy(setting = AskSetting.NEVER))) {
            assertThrows<MagpieException.Request> { phone.search(mug, CatalogServer(shop.url), alone, options) }
        }
    }

    @Test
    fun `the phone's own listings come first if they are worth showing`() = withPhone { phone ->
        val server = CatalogServer(shop.url)
        val updates = phone.searchUpdates(chair, server, ask, SearchOptions(limit = 20)).toList()
        assertEquals(listOf(AskOutcome.Pending, AskOutcome.Answered), updates.map { it.asked?.outcome })
        assertEquals(setOf(Listing.Source.SHARD), updates[0].sources())
        assertTrue(updates[0].listings.isNotEmpty() && updates[0].confidence != null)
        assertTrue(updates[1].listings.first().id.startsWith("chair-"))
        val nothing = SearchOptions(filter = column("price") lessThan 0)
        val none = phone.searchUpdates(chair, server, ask, nothing).toList().single()
        assertEquals(AskReason.NOTHING_FOUND, none.asked?.reason)
    }

    @Test
    fun `the server is not asked if the phone's answer is good enough`() = withPhone { phone ->
        val catalogued = Demo.root.resolve("cli/demo/photos/mug-01-1.jpg").readBytes()
        for (connectivity in listOf(Connectivity.UNMETERED, Connectivity.METERED)) {
            val asking = ask.copy(connectivity = connectivity)
            val updates = phone.searchUpdates(catalogued, nobody, asking, SearchOptions(limit = 3)).toList()
            val results = updates.single()
            assertEquals(Asked(AskReason.GOOD_ENOUGH, AskOutcome.NotAsked, 0, Duration.ZERO), results.asked)
            assertEquals("mug-01" to setOf(Listing.Source.SHARD), results.listings.first().id to results.sources())
            assertTrue(checkNotNull(results.confidence).enough)
        }
    }

    @Test
    fun `the server is not asked if network, user or deadline rule it out`() = withPhone { phone ->
        val unmetered = AskSetting.UNMETERED_ONLY
        val cases = mapOf(
            ask.copy(connectivity = Connectivity.OFFLINE) to AskReason.OFFLINE,
            ask.copy(setting = AskSetting.NEVER) to AskReason.NOT_ALLOWED,
            ask.copy(connectivity = Connectivity.METERED, setting = unmetered) to AskReason.NOT_ALLOWED,
            ask.copy(deadline = 20.milliseconds) to AskReason.NO_TIME,
            ask.copy(deadline = (-1).seconds) to AskReason.NO_TIME,
        )
        for ((options, reason) in cases) {
            val results = phone.search(chair, nobody, options, SearchOptions(limit = 20))
            assertEquals(Asked(reason, AskOutcome.NotAsked, 0, Duration.ZERO), results.asked)
            assertEquals(setOf(Listing.Source.SHARD), results.sources())
        }
        val metered = ask.copy(connectivity = Connectivity.METERED)
        assertEquals(AskOutcome.Answered, phone.search(chair, CatalogServer(shop.url), metered).asked?.outcome)
        assertNull(phone.search(chair).asked)
    }

    @Test
    fun `frames and buffers ask the server as arrays do`() = withPhone { phone ->
        val server = CatalogServer("${shop.url}/")
        val options = SearchOptions(limit = 20)
        val expected = phone.search(chair, server, ask, options).listings
        val direct = ByteBuffer.allocateDirect(chair.size).put(chair).rewind() as ByteBuffer
        assertEquals(expected, phone.search(direct, server, ask, options).listings)
        assertEquals(expected, phone.searchUpdates(direct, server, ask, options).toList().last().listings)
        val grey = Frame(Pixels.rgba(ByteBuffer.allocateDirect(4 * 64 * 64), 4 * 64), 64, 64)
        assertEquals(AskOutcome.Answered, phone.search(grey, server, ask, options).asked?.outcome)
        val last = phone.searchUpdates(grey, server, ask, options).toList().last()
        assertEquals(AskOutcome.Answered, last.asked?.outcome)
    }

    @Test
    fun `a server with another model, and a server that needs a token`(@TempDir folder: File) = withPhone { phone ->
        val options = SearchOptions(limit = 20)
        val failed: suspend (CatalogServer) -> String? = { server ->
            val results = phone.search(chair, server, ask, options)
            assertEquals(setOf(Listing.Source.SHARD), results.sources())
            (results.asked?.outcome as? AskOutcome.Failed)?.name
        }
        RealServer(Demo.root.resolve("tests/compat/v2.magpie")).use { other ->
            assertEquals("wrong_model", failed(CatalogServer(other.url)))
        }
        val tokens = folder.resolve("tokens").apply { writeText("phone a-long-enough-token\n") }
        RealServer(Demo.catalog, "--tokens", tokens.path).use { closed ->
            assertEquals("refused", failed(CatalogServer(closed.url)))
            assertEquals("refused", failed(CatalogServer(closed.url, "another-long-token")))
            val known = CatalogServer(closed.url, "a-long-enough-token")
            assertEquals(AskOutcome.Answered, phone.search(chair, known, ask, options).asked?.outcome)
        }
    }

    @Test
    fun `invalid photos and a closed engine throw as without a server`() = withPhone { phone ->
        assertThrows<MagpieException.Photo> { phone.search(ByteArray(10), nobody, ask) }
        phone.close()
        assertThrows<MagpieException.Closed> { phone.search(chair, nobody, ask) }
        assertThrows<MagpieException.Closed> { phone.searchUpdates(chair, nobody, ask).toList() }
    }

    @Test
    fun `only server URLs are accepted`() {
        val none = listOf("", "shop.example", "ftp://shop.example", "/v1/search", "http://", "http://a b")
        val more = listOf("https://shop.example/?a=b", "https://user:password@shop.example", "https://shop.example#top")
        for (url in none + more) {
            val error = assertThrows<IllegalArgumentException>(url) { CatalogServer(url) }
            assertTrue("password" !in error.message.orEmpty())
        }
        for (url in listOf("http://localhost:8080", "https://shop.example", "HTTPS://shop.example/magpie/")) {
            assertTrue("secret" !in CatalogServer(url, "secret").toString())
        }
        assertThrows<IllegalArgumentException> { CatalogServer("https://shop.example", "two\nlines") }
    }

    companion object {
        private lateinit var shop: RealServer

        /** A server URL that nothing listens on. */
        private val nobody by lazy {
            CatalogServer("http://127.0.0.1:${ServerSocket(0).use { it.localPort }}")
        }

        @BeforeAll
        @JvmStatic
        fun open() {
            shop = RealServer(Demo.catalog)
        }

        @AfterAll
        @JvmStatic
        fun close() = shop.close()
    }
}
