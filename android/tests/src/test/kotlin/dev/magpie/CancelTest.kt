package dev.magpie

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** Cancelling a coroutine ends the call in Rust. */
class CancelTest {
    private val mug = Demo.photo("mug-01.jpg")

    /** Hours, if nobody cancels it. */
    private suspend fun SearchEngine.forHours() = benchmark(mug, runs = 100_000_000)

    @Test
    fun `a cancelled coroutine ends its call`() = withEngine { engine ->
        val call = async(Dispatchers.Default) { engine.forHours() }
        delay(200.milliseconds)
        assertTrue(call.isActive)
        // Joining waits for Rust: were the flag not set, this would take hours.
        withTimeout(20.seconds) { call.cancelAndJoin() }
        assertThrows<CancellationException> { call.await() }
        assertEquals("mug-01", engine.search(mug).listings.first().id)
    }

    @Test
    fun `time that is up ends a call`() = withEngine { engine ->
        withTimeout(20.seconds) {
            assertNull(withTimeoutOrNull(200.milliseconds) { engine.forHours() })
        }
    }

    @Test
    fun `cancelling works where the only thread is busy with the call`() = suspending {
        Executors.newSingleThreadExecutor().asCoroutineDispatcher().use { only ->
            SearchEngine.open(Demo.pack, Demo.catalog, dispatcher = only).use { engine ->
                val call = launch(only) { engine.forHours() }
                delay(200.milliseconds)
                withTimeout(20.seconds) { call.cancelAndJoin() }
                assertEquals("mug-01", engine.search(mug).listings.first().id)
            }
        }
    }

    @Test
    fun `a coroutine that is cancelled already does not call`() = withEngine { engine ->
        val called = AtomicBoolean()
        val job =
            launch {
                coroutineContext[kotlinx.coroutines.Job]?.cancel()
                engine.forHours()
                called.set(true)
            }
        withTimeout(20.seconds) { job.join() }
        assertTrue(job.isCancelled && !called.get())
    }
}
