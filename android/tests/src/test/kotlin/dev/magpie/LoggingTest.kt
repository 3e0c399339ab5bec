package dev.magpie

import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.ConcurrentLinkedQueue

/** Log lines go to the app's sink and contain nothing about the user. */
class LoggingTest {
    private val lines = ConcurrentLinkedQueue<Triple<LogLevel, String, String>>()

    @AfterEach
    fun silence() {
        Magpie.startLogging(LogLevel.OFF)
    }

    @Test
    fun `lines reach the sink with level and module`() = suspending {
        assertTrue(
            Magpie.startLogging(LogLevel.INFO) { level, module, line ->
                lines += Triple(level, module, line)
            },
        )
        Demo.open().close()
        val (level, module, _) = lines.single { "opened" in it.third && "128 listings" in it.third }
        assertEquals(LogLevel.INFO, level)
        assertTrue(module.startsWith("magpie"), module)
    }

    @Test
    fun `user input is not logged`() = withEngine { engine ->
        Magpie.startLogging(LogLevel.DEBUG) { level, module, line -> lines += Triple(level, module, line) }
        val options = SearchOptions(filter = column("category") lessThan 424_242)
        assertThrows<MagpieException.Request> { engine.search(Demo.photo("mug-01.jpg"), options) }
        assertTrue(lines.any { "refused" in it.third }, "$lines")
        assertTrue(lines.none { "424242" in it.third || "category" in it.third }, "$lines")
    }

    @Test
    fun `nothing is logged at level OFF, and a sink that throws does no harm`() = suspending {
        Magpie.startLogging(LogLevel.OFF) { level, module, line -> lines += Triple(level, module, line) }
        Demo.open().close()
        assertEquals(emptyList<Any>(), lines.toList())
        Magpie.startLogging(LogLevel.DEBUG) { _, _, _ -> error("the sink is broken") }
        Demo.open().use { assertTrue(it.search(Demo.photo("mug-01.jpg")).listings.isNotEmpty()) }
    }
}
