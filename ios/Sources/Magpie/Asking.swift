import Foundation
internal import MagpieGenerated

extension Engine {
    /// Finds the listings most like a photo, and asks a server where the phone's own answer is not good enough.
    ///
    /// The phone's own listings are in the results whatever the server does, and they come within the deadline.
    /// ``SearchResults/asked`` says whether and why the server was asked, and how that ended; a server that fails is no
    /// error.
    ///
    /// ```swift
    /// let results = try await engine.search(photo: photo, server: shop, asking: AskOptions(monitor.connectivity))
    /// for listing in results.listings { print(listing["title"] ?? listing.id, listing.source) }
    /// ```
    ///
    /// - Parameters:
    ///   - photo: JPEG, PNG or WebP bytes; they are borrowed, not copied.
    ///   - server: Whom to ask.
    ///   - asking: On what it depends whether to ask, and for how long.
    ///   - options: How many listings, which, and what part of the photo.
    /// - Throws: As a search without a server; ``MagpieError/request(reason:)`` for a column that the phone's catalogue
    ///   does not have only where `asking` rules out that the server is asked.
    public func search(
        photo: Data, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        try await server.answer(ask(photo, server, asking, options))
    }

    /// The same for a camera frame. It is kept until the results are there; with
    /// ``searchUpdates(frame:server:asking:options:)`` for a shorter time.
    public func search(
        frame: Frame, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) async throws(MagpieError) -> SearchResults {
        try await server.answer(ask(frame, server, asking, options))
    }

    /// As ``search(photo:server:asking:options:)``, but where the server is asked and the phone's own results are worth
    /// showing, these come first, with ``Asked/Outcome/pending``; then the results of both. Where the phone's answer is
    /// good enough, or it has none, there is one element.
    ///
    /// ```swift
    /// for try await results in engine.searchUpdates(photo: photo, server: shop, asking: asking) { show(results) }
    /// ```
    ///
    /// The search begins at once, and ends where nobody iterates any more. Errors are ``MagpieError``s.
    public func searchUpdates(
        photo: Data, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) -> AsyncThrowingStream<SearchResults, any Error> {
        updates(server) { try await self.ask(photo, server, asking, options) }
    }

    /// The same for a camera frame, which is done with at the first element.
    public func searchUpdates(
        frame: Frame, server: CatalogServer, asking: AskOptions, options: SearchOptions = SearchOptions()
    ) -> AsyncThrowingStream<SearchResults, any Error> {
        updates(server) { try await self.ask(frame, server, asking, options) }
    }

    private func updates(
        _ server: CatalogServer, _ search: @escaping @Sendable () async throws -> Asking
    ) -> AsyncThrowingStream<SearchResults, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    let asking = try await search()
                    if asking.isAsked() && asking.showsLocal() {
                        continuation.yield(SearchResults(asking.results()))
                    }
                    continuation.yield(try await server.answer(asking))
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
    ) async throws(MagpieError) -> Asking {
        let (photo, options) = (try crossing(photo), try options.generated())
        return try await run { engine, cancellation in
            try engine.askPhoto(
                photo: photo, options: options, ask: asking.generated, server: server.generated,
                cancellation: cancellation)
        }
    }

    private func ask(
        _ frame: Frame, _ server: CatalogServer, _ asking: AskOptions, _ options: SearchOptions
    ) async throws(MagpieError) -> Asking {
        let (planes, options) = (try Planes(frame), try options.generated())
        return try await run { engine, cancellation in
            try engine.askFrame(
                first: planes.first, second: planes.second, third: planes.third, layout: planes.layout,
                options: options, ask: asking.generated, server: server.generated, cancellation: cancellation)
        }
    }
}

/// What happens while a server is asked.
private enum Event: Sendable {
    case clock
    case replied(attempt: UInt32, HTTPReply)
    case failed(attempt: UInt32, HTTPTrouble)
}

extension CatalogServer {
    /// Does what the core says until there is an answer. Cancelled, it gives all requests up.
    fileprivate func answer(_ asking: Asking) async throws(MagpieError) -> SearchResults {
        let (events, teller) = AsyncStream.makeStream(of: Event.self)
        var happened = events.makeAsyncIterator()
        // Not awaited: a transport that does not listen when it is cancelled must not hold up the answer.
        var attempts: [Task<Void, Never>] = []
        defer {
            for attempt in attempts { attempt.cancel() }
            _ = asking.cancelled()
        }
        var step = try await calls.run { _ in asking.advance() }
        while true {
            let wait: UInt32
            switch step {
            case .send(let attempt, let headers, let timeout, let until):
                let request = request(
                    path: asking.path(), headers: headers, body: asking.body(), timeout: .milliseconds(timeout))
                attempts += send(request, attempt: attempt, teller)
                wait = until
            case .wait(let until): wait = until
            case .done: return SearchResults(asking.results())
            }
            let clock = after(.milliseconds(wait)) { teller.yield(.clock) }
            let event = await happened.next()
            clock.cancel()
            // There is no end of the events but that of the task.
            guard let event else { throw .cancelled }
            step = try await calls.run { _ in asking.step(after: event) }
        }
    }

    /// One request, and what ends it where its time is over.
    private func send(
        _ request: HTTPRequest?, attempt: UInt32, _ teller: AsyncStream<Event>.Continuation
    ) -> [Task<Void, Never>] {
        guard let request else {
            teller.yield(.failed(attempt: attempt, .unreachable))
            return []
        }
        let transport = transport
        let sending = Task {
            do {
                teller.yield(.replied(attempt: attempt, try await transport.send(request)))
            } catch {
                teller.yield(.failed(attempt: attempt, Task.isCancelled ? .timedOut : HTTPTrouble(error)))
            }
        }
        return [sending, after(request.timeout) { sending.cancel() }]
    }
}

/// Does something after a while, unless it is cancelled before.
private func after(_ time: Duration, _ work: @escaping @Sendable () -> Void) -> Task<Void, Never> {
    Task {
        if (try? await Task.sleep(for: time)) != nil { work() }
    }
}

extension Asking {
    /// What to do now that this has happened.
    fileprivate func step(after event: Event) -> AskStep {
        switch event {
        case .clock: return advance()
        case .failed(let attempt, let trouble): return failed(attempt: attempt, trouble: trouble.generated)
        case .replied(let attempt, let reply):
            // The length of what crosses is 32 bits wide, and a body of a byte too many says as much.
            let body = reply.body.prefix(Int(maxReplyBytes()) + 1)
            let status = UInt16(clamping: reply.status)
            return replied(attempt: attempt, status: status, retryAfter: reply.retryAfter, body: body)
        }
    }
}
