package dev.magpie

import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import kotlin.time.Duration

/** Apps can measure the stages of a search on the user's phone. */
class BenchmarkTest {
    @Test
    fun `percentiles of each stage, as a record and as JSON`() = withEngine { engine ->
        val photo = Demo.photo("mug-01.jpg")
        val benchmark = engine.benchmark(photo, runs = 12)
        assertEquals(12, benchmark.runs)
        val stages = listOf("decode", "prepare", "network", "search", "listings", "together")
        assertEquals(stages, benchmark.stages.map { it.stage })
        for (stage in benchmark.stages) {
            assertTrue(stage.p50 > Duration.ZERO && stage.p50 <= stage.p90 && stage.p90 <= stage.p99, "$stage")
        }
        assertEquals(engine.info.photos, benchmark.photos)
        assertEquals(engine.info.instructions, benchmark.instructions)
        assertEquals(engine.info.openTime, benchmark.openTime)
        assertTrue(checkNotNull(benchmark.residentBytes) > 1_000_000)
        for (part in listOf("\"runs\":12", "\"photos\":256", "\"stage\":\"network\"", "\"p90_ms\":")) {
            assertTrue(part in benchmark.json, "$part in ${benchmark.json}")
        }
        assertThrows<IllegalArgumentException> { engine.benchmark(photo, runs = 0) }
    }
}
