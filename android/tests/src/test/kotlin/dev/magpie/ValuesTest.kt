package dev.magpie

import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

/** An app's tests can build the values that the library returns, without an engine. */
class ValuesTest {
    @Test
    fun `results need only their listings`() {
        val mug = Listing("mug-01", score = 0.9f, fields = mapOf("title" to "A mug"))
        val results = SearchResults(listOf(mug))
        assertEquals("A mug", results.listings.single()["title"])
        assertEquals(Listing.Source.SHARD, mug.source)
        assertNull(results.confidence)
        assertNull(results.asked)
        assertEquals(Duration.ZERO, results.times.total)
        val asked = Asked(AskReason.NO_TIME, AskOutcome.NotAsked)
        val sure = results.copy(confidence = Confidence(0.8f, enough = true), asked = asked)
        assertEquals(true, sure.confidence?.enough)
        assertEquals(0 to Duration.ZERO, sure.asked?.run { requests to time })
        assertEquals(listOf(mug), LiveUpdate.Found(listOf(mug), sure).listings)
        assertEquals("green", Attribute("colour", "green", 0.7f).label)
        assertEquals(3.milliseconds, StageTimes(decode = 1.milliseconds, network = 2.milliseconds).total)
    }

    @Test
    fun `embeddings, descriptions and requests can be built`() {
        assertArrayEquals(floatArrayOf(1f, 0f), Embedding(floatArrayOf(1f, 0f), "a model").values)
        val info = EngineInfo(catalog = "shop", listings = 3, columns = listOf(Column("price", isNumber = true)))
        assertEquals("price", info.columns.single().name)
        val stage = StageTime("network", p50 = 1.milliseconds, p90 = 2.milliseconds, p99 = 3.milliseconds)
        assertEquals(stage, Benchmark(runs = 1, stages = listOf(stage)).stages.single())
        val request = HttpRequest("https://shop.example/v1/search", timeout = 5.milliseconds)
        assertEquals(5.milliseconds to 0, request.timeout to request.body.size)
        assertEquals(503, HttpReply(503).status)
    }
}
