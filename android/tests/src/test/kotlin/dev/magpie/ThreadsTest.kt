package dev.magpie

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger
import kotlin.random.Random
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.TimeSource

/** One engine used by many threads, and closed while they search. */
class ThreadsTest {
    private val threads = 8

    /** A photo for each thread. */
    private val photos = Demo.queries.keys.take(threads).map { Demo.photo(it) }

    private suspend fun expected(): List<List<Listing>> = Demo.open().use { engine ->
        photos.map { engine.search(it).listings }
    }

    private fun withThreads(test: suspend (CoroutineDispatcher) -> Unit) =
        suspending { Executors.newFixedThreadPool(threads).asCoroutineDispatcher().use { test(it) } }

    @Test
    fun `eight concurrent threads find the same as one`() = withThreads { dispatcher ->
        val expected = expected()
        val searches = AtomicInteger()
        SearchEngine.open(Demo.pack, Demo.catalog, dispatcher = dispatcher).use { engine ->
            val end = TimeSource.Monotonic.markNow() + Demo.patience
            coroutineScope {
                repeat(threads) { thread ->
                    async {
                        while (end.hasNotPassedNow()) {
                            assertEquals(expected[thread], engine.search(photos[thread]).listings)
                            searches.incrementAndGet()
                        }
                    }
                }
            }
        }
        println("$threads threads: $searches searches in ${Demo.patience}")
        assertTrue(searches.get() >= threads)
    }

    @Test
    fun `closing while eight threads search`() = withThreads { dispatcher ->
        val expected = expected()
        val end = TimeSource.Monotonic.markNow() + Demo.patience
        var rounds = 0
        val searches = AtomicInteger()
        while (end.hasNotPassedNow()) {
            val engine = SearchEngine.open(Demo.pack, Demo.catalog, dispatcher = dispatcher)
            coroutineScope {
                val ends =
                    List(threads) { thread ->
                        async(dispatcher) {
                            assertThrows<MagpieException.Closed> {
                                while (true) {
                                    assertEquals(expected[thread], engine.search(photos[thread]).listings)
                                    searches.incrementAndGet()
                                }
                            }
                        }
                    }
                delay(Random.nextInt(1, 40).milliseconds)
                engine.close()
                ends.awaitAll()
            }
            rounds++
        }
        println("closed $rounds engines during ${searches.get()} searches")
        assertTrue(rounds > 1)
    }

    @Test
    fun `closing twice is harmless, and later calls throw`() = suspending {
        val engine = Demo.open()
        engine.close()
        engine.close()
        assertThrows<MagpieException.Closed> { engine.search(photos[0]) }
        assertThrows<MagpieException.Closed> { engine.moreLike("mug-01") }
        assertThrows<MagpieException.Closed> { engine.words("colour") }
        assertThrows<MagpieException.Closed> { engine.thumbnail("mug-01", "mug-01-1.jpg") }
        assertThrows<MagpieException.Closed> { engine.embed(photos[0]) }
        assertThrows<MagpieException.Closed> { engine.benchmark(photos[0]) }
        assertEquals(128L, engine.info.listings)
    }
}
