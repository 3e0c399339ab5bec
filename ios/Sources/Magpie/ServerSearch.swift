import Foundation
internal import MagpieGenerated

extension Engine {
    /// Finds the listings most similar to a photo, and asks a server if the phone's own answer is not good enough.
    ///
    /// The results always include the phone's own listings, whatever the server does, and arrive within the deadline.
    /// ``SearchResults/asked`` tells whether the server was asked, why, and how that ended. A failing server is not an
    /// error.
    ///
    /// ```swift
    /// let results = try await engine.search(photo: photo, server: shop, asking: AskOptions(monitor.connectivity))
    /// for listing in results.listings { print(listing["title"] ?? listing.id, listing.source) }
    /// ```
    ///
    /// - Parameters:
    ///   - photo: JPEG, PNG or WebP bytes. They are borrowed, not copied.
    ///   - server: The server to ask.
    ///   - asking: When and for how long to ask it.
    ///   - options: How many listings to find, which ones, and with which part of the photo.
    /// - Throws: As a search without a server. A filter on a column that is missing from the phone's catalogue throws
    ///   ``MagpieError/request(reason:)`` only if `asking` rules out asking the server.
    public func search(
        photo: Data, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        try await server.answer(ask(photo, server, asking, options))
    }

    /// Searches with a camera frame, which is in use until the results arrive;
    /// ``searchUpdates(frame:server:asking:options:)`` releases it earlier.
    public func search(
        frame: Frame, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        try await server.answer(ask(frame, server, asking, options))
    }

    /// Searches as ``search(photo:server:asking:options:)`` does, but yields the phone's own results first, with
    /// ``Asked/Outcome/pending``, if the server is asked and they are worth showing. The merged results follow. If the
    /// phone's answer is good enough, or if it has none, there is a single element.
    ///
    /// ```swift
    /// for try await results in engine.searchUpdates(photo: photo, server: shop, asking: asking) { show(results) }
    /// ```
    ///
    /// The search starts immediately and stops when iteration ends. Errors are ``MagpieError``s.
    public func searchUpdates(
        photo: Data, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) -> AsyncThrowingStream<SearchResults, any Error> {
        updates(server) { try await self.ask(photo, server, asking, options) }
    }

    /// Searches with a camera frame, which is no longer in use after the first element.
    public func searchUpdates(
        frame: Frame, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) -> AsyncThrowingStream<SearchResults, any Error> {
        updates(server) { try await self.ask(frame, server, asking, options) }
    }

    private func updates(
        _ server: CatalogServer, _ begin: @escaping @Sendable () async throws -> ServerSearch
    ) -> AsyncThrowingStream<SearchResults, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    let search = try await begin()
                    if search.isAsked() && search.showsLocal() {
                        continuation.yield(SearchResults(search.results()))
                    }
                    continuation.yield(try await server.answer(search))
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private func ask(
        _ photo: Data, _ server: CatalogServer, _ asking: AskOptions, _ options: SearchOptions
    ) async throws(MagpieError) -> ServerSearch {
        let (photo, options) = (try validated(photo), try options.generated())
        return try await run { engine, cancellation in
            try engine.askPhoto(
                photo: photo, options: options, ask: asking.generated, server: server.generated,
                cancellation: cancellation)
        }
    }

    private func ask(
        _ frame: Frame, _ server: CatalogServer, _ asking: AskOptions, _ options: SearchOptions
    ) async throws(MagpieError) -> ServerSearch {
        let (planes, options) = (try Planes(frame), try options.generated())
        return try await run { engine, cancellation in
            try engine.askFrame(
                first: planes.first, second: planes.second, third: planes.third, layout: planes.layout,
                options: options, ask: asking.generated, server: server.generated, cancellation: cancellation)
        }
    }
}

/// An event while a server is asked.
private enum Event: Sendable {
    case clock
    case replied(attempt: UInt32, HTTPReply)
    case failed(attempt: UInt32, HTTPTrouble)
}

extension CatalogServer {
    /// Performs the steps that the core requests until there is an answer. If cancelled, it abandons all requests.
    fileprivate func answer(_ search: ServerSearch) async throws(MagpieError) -> SearchResults {
        let (events, feed) = AsyncStream.makeStream(of: Event.self)
        var happened = events.makeAsyncIterator()
        // Not awaited: a transport that ignores cancellation must not delay the answer.
        var attempts: [Task<Void, Never>] = []
        defer {
            for attempt in attempts { attempt.cancel() }
            _ = search.cancelled()
        }
        var step = try await calls.run { _ in search.advance() }
        while true {
            let wait: UInt32
            switch step {
            case .send(let attempt, let headers, let timeout, let until):
                let request = request(
                    path: search.path(), headers: headers, body: search.body(), timeout: .milliseconds(timeout))
                attempts += send(request, attempt: attempt, feed)
                wait = until
            case .wait(let until): wait = until
            case .done: return SearchResults(search.results())
            }
            let clock = after(.milliseconds(wait)) { feed.yield(.clock) }
            let event = await happened.next()
            clock.cancel()
            // The stream ends only if the task is cancelled.
            guard let event else { throw .cancelled }
            step = try await calls.run { _ in search.step(after: event) }
        }
    }

    /// Starts a request, and a timer that cancels it after its timeout.
    private func send(
        _ request: HTTPRequest?, attempt: UInt32, _ feed: AsyncStream<Event>.Continuation
    ) -> [Task<Void, Never>] {
        guard let request else {
            feed.yield(.failed(attempt: attempt, .unreachable))
            return []
        }
        let transport = transport
        let sending = Task {
            do {
                feed.yield(.replied(attempt: attempt, try await transport.send(request)))
            } catch {
                feed.yield(.failed(attempt: attempt, Task.isCancelled ? .timedOut : HTTPTrouble(error)))
            }
        }
        return [sending, after(request.timeout) { sending.cancel() }]
    }
}

/// Runs `work` after a delay, unless it is cancelled before.
func after(_ time: Duration, _ work: @escaping @Sendable () -> Void) -> Task<Void, Never> {
    Task {
        if (try? await Task.sleep(for: time)) != nil { work() }
    }
}

extension ServerSearch {
    /// Reports the event and returns the next step.
    fileprivate func step(after event: Event) -> AskStep {
        switch event {
        case .clock: return advance()
        case .failed(let attempt, let trouble): return failed(attempt: attempt, trouble: trouble.generated)
        case .replied(let attempt, let reply):
            // Lengths cross as 32 bits. One byte more than the limit is enough to report that the body is too long.
            let body = reply.body.prefix(Int(maxReplyBytes()) + 1)
            let status = UInt16(clamping: reply.status)
            return replied(attempt: attempt, status: status, retryAfter: reply.retryAfter, body: body)
        }
    }
}
