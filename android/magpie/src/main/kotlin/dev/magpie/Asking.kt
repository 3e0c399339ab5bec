package dev.magpie

import dev.magpie.internal.AskStep
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.TimeoutCancellationException
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import java.nio.ByteBuffer
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.magpie.internal.ServerSearch as RustServerSearch
import dev.magpie.internal.Trouble as RustTrouble

/**
 * Finds the listings most similar to a photo, and asks a server if the phone's own answer is not good enough.
 *
 * ```kotlin
 * val results = engine.search(photo, shop, AskOptions(context.connectivity), SearchOptions(limit = 20))
 * results.listings.forEach { println("${it["title"]}: ${it.source}") }
 * ```
 *
 * The results always include the phone's own listings, whatever the server does, and arrive within the deadline.
 * [SearchResults.asked] tells whether the server was asked, why, and how that ended. A failing server is not an error.
 * A filter on a column that is missing from the phone's catalogue is an error only if the options rule out asking the
 * server.
 *
 * @throws MagpieException as the search without a server does
 */
public suspend fun SearchEngine.search(
    photo: ByteBuffer,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions = SearchOptions(),
): SearchResults = serverSearch(photo, server, ask, options).use { server.answer(it) }

/** Searches with a photo in an array, which is copied once. */
public suspend fun SearchEngine.search(
    photo: ByteArray,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions = SearchOptions(),
): SearchResults = search(ByteBuffer.wrap(photo), server, ask, options)

/** Searches with a camera frame, which is in use until the results arrive; [searchUpdates] releases it earlier. */
public suspend fun SearchEngine.search(
    frame: Frame,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions = SearchOptions(),
): SearchResults = serverSearch(frame, server, ask, options).use { server.answer(it) }

/**
 * Searches as [search] does, but emits the phone's own results first, with [AskOutcome.Pending], if the server is asked
 * and they are worth showing. The merged results follow. If the phone's answer is good enough, or if it has none, there
 * is a single emission.
 *
 * ```kotlin
 * engine.searchUpdates(photo, shop, AskOptions(context.connectivity)).collect { show(it) }
 * ```
 */
public fun SearchEngine.searchUpdates(
    photo: ByteBuffer,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions = SearchOptions(),
): Flow<SearchResults> = updates(server) { serverSearch(photo, server, ask, options) }

/** Searches with a photo in an array, which is read when the flow is collected. */
public fun SearchEngine.searchUpdates(
    photo: ByteArray,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions = SearchOptions(),
): Flow<SearchResults> = searchUpdates(ByteBuffer.wrap(photo), server, ask, options)

/** Searches with a camera frame, which is no longer in use after the first emission. */
public fun SearchEngine.searchUpdates(
    frame: Frame,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions = SearchOptions(),
): Flow<SearchResults> = updates(server) { serverSearch(frame, server, ask, options) }

private fun updates(server: CatalogServer, begin: suspend () -> RustServerSearch): Flow<SearchResults> = channelFlow {
    begin().use { search ->
        // Does not wait for the collector: the server's deadline is already running.
        if (search.isAsked() && search.showsLocal()) send(search.results().public())
        send(server.answer(search))
    }
}

private suspend fun SearchEngine.serverSearch(
    photo: ByteBuffer,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions,
): RustServerSearch {
    val bytes = photo.duplicate()
    return call { engine, cancel ->
        bytes.borrowed { engine.askPhoto(it, options.rust(), ask.rust(), server.rust, cancel) }
    }
}

private suspend fun SearchEngine.serverSearch(
    frame: Frame,
    server: CatalogServer,
    ask: AskOptions,
    options: SearchOptions,
): RustServerSearch {
    val borrowed = frame.rust()
    return call { engine, cancel ->
        borrowed.borrowed { first, second, third, layout ->
            engine.askFrame(first, second, third, layout, options.rust(), ask.rust(), server.rust, cancel)
        }
    }
}

/** The parts of a request that Rust decides. */
internal class RustCall(val path: String, val headers: Map<String, String>, val body: ByteArray, val timeout: Duration)

/** An event while a server is asked. */
private sealed interface Event {
    data object Clock : Event

    class Reply(val attempt: UInt, val reply: HttpReply) : Event

    class Failed(val attempt: UInt, val trouble: RustTrouble) : Event
}

/** Performs the steps that Rust requests until there is an answer. If cancelled, it abandons all requests. */
private suspend fun CatalogServer.answer(search: RustServerSearch): SearchResults = withContext(Dispatchers.IO) {
    // Not children: a transport that ignores cancellation must not delay the answer.
    val attempts = CoroutineScope(Dispatchers.IO + SupervisorJob())
    val events = Channel<Event>(Channel.UNLIMITED)
    try {
        var step = search.advance()
        while (step !is AskStep.Done) {
            if (step is AskStep.Send) {
                val send = step
                val headers = send.headers.associate { it.name to it.value }
                val call = RustCall(search.path(), headers, search.body(), send.timeoutMs.toInt().milliseconds)
                attempts.launch { events.send(attempt(send.attempt, call)) }
            }
            val wait = step.wait()
            val clock = launch {
                delay(wait)
                events.send(Event.Clock)
            }
            val event = events.receive()
            clock.cancel()
            step = search.report(event)
        }
    } finally {
        search.cancelled()
        attempts.cancel()
    }
    search.results().public()
}

private fun AskStep.wait(): Duration = when (this) {
    is AskStep.Send -> waitMs.toLong().milliseconds
    is AskStep.Wait -> waitMs.toLong().milliseconds
    is AskStep.Done -> Duration.ZERO
}

private fun RustServerSearch.report(event: Event): AskStep = when (event) {
    is Event.Clock -> advance()

    is Event.Failed -> failed(event.attempt, event.trouble)

    is Event.Reply -> {
        val status = event.reply.status.coerceIn(0, UShort.MAX_VALUE.toInt()).toUShort()
        ByteBuffer.wrap(event.reply.body).borrowed { replied(event.attempt, status, event.reply.retryAfter, it) }
    }
}

/** Performs one request. Any exception of the transport becomes an event: the phone's own results must survive it. */
@Suppress("TooGenericExceptionCaught", "SwallowedException")
private suspend fun CatalogServer.attempt(number: UInt, call: RustCall): Event = try {
    Event.Reply(number, withTimeout(call.timeout) { transport.send(request(call)) })
} catch (e: TimeoutCancellationException) {
    Event.Failed(number, RustTrouble.TIMED_OUT)
} catch (e: CancellationException) {
    currentCoroutineContext().ensureActive()
    Event.Failed(number, RustTrouble.BROKEN)
} catch (e: Exception) {
    Event.Failed(number, e.trouble())
}
