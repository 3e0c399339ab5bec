import Foundation
internal import MagpieGenerated

/// A correction: a photo like a remembered one shows this listing.
public struct Correction: Sendable, Hashable {
    /// The listing that the user named.
    public let listing: Listing.ID
    /// When, by the device's clock.
    public let time: Date

    /// Creates a correction, for example for an app's tests.
    public init(listing: Listing.ID, time: Date) {
        self.listing = listing
        self.time = time
    }
}

extension Engine {
    /// Uses the corrections in a file from now on: photos whose right listing the user has named. The first correction
    /// creates the file, in a folder that exists. It belongs to one catalogue. The library never sends it anywhere;
    /// exclude it from backups that leave the device.
    ///
    /// ```swift
    /// try await engine.openCorrections(at: folder.appendingPathComponent("corrections"))
    /// try await engine.remember(photo: jpeg, as: chosen.id)  // "No, this one."
    /// let first = try await engine.search(photo: jpeg).listings.first  // first?.isCorrected == true
    /// ```
    ///
    /// - Throws: ``MagpieError/file(reason:)`` if the file cannot be read, holds something else, or comes from a newer
    ///   version.
    public func openCorrections(at file: URL) async throws(MagpieError) {
        let path = try validated(file.path)
        try await run { engine, _ in try engine.openCorrections(file: path) }
    }

    /// Remembers that a photo shows a listing. Searches with photos like it find that listing first, see
    /// ``Listing/isCorrected``. Only the photo's embedding is kept, and at most 1,000 corrections: one more takes the
    /// place of the oldest.
    ///
    /// - Parameters:
    ///   - photo: JPEG, PNG or WebP bytes.
    ///   - id: The listing that it shows.
    ///   - crop: The part of the photo that shows the listing; nil for all of it.
    /// - Throws: ``MagpieError/photo(reason:)`` if the photo or the crop is invalid, ``MagpieError/request(reason:)`` if
    ///   there is no such listing or no file of corrections is open, ``MagpieError/file(reason:)`` if it cannot be
    ///   written.
    public func remember(photo: Data, as id: Listing.ID, crop: Crop? = nil) async throws(MagpieError) {
        let (photo, id) = (try validated(photo), try validated(id))
        let options = try SearchOptions(crop: crop).generated()
        try await run { engine, cancellation in
            try engine.rememberPhoto(photo: photo, listingId: id, options: options, cancellation: cancellation)
        }
    }

    /// Remembers that the photo or frame of an embedding shows a listing; otherwise as for a photo.
    ///
    /// - Throws: ``MagpieError/model(reason:)`` if the embedding comes from another model.
    public func remember(embedding: Embedding, as id: Listing.ID) async throws(MagpieError) {
        let (id, model) = (try validated(id), try validated(embedding.modelID))
        let values = embedding.values
        try await run { engine, _ in
            try engine.remember(
                embedding: MagpieGenerated.Embedding(values: values, modelId: model), listingId: id)
        }
    }

    /// Forgets the corrections to a listing, which the catalogue need not have any more, and returns their number.
    ///
    /// - Throws: ``MagpieError/request(reason:)`` if no file of corrections is open, ``MagpieError/file(reason:)`` if
    ///   it cannot be written.
    @discardableResult
    public func forget(listing id: Listing.ID) async throws(MagpieError) -> Int {
        let id = try validated(id)
        return try await run { engine, _ in Int(try engine.forget(listingId: id)) }
    }

    /// Forgets all corrections; throws as ``forget(listing:)`` does.
    public func forgetAll() async throws(MagpieError) {
        try await run { engine, _ in try engine.forgetAll() }
    }

    /// The corrections to listings of the catalogue, the latest first; none if no file is open.
    public func corrections() async throws(MagpieError) -> [Correction] {
        try await run { engine, _ in
            try engine.corrections().map {
                Correction(listing: $0.listingId, time: Date(timeIntervalSince1970: Double($0.time)))
            }
        }
    }
}
