package dev.magpie

import java.io.File
import java.nio.ByteBuffer
import java.time.Instant
import dev.magpie.internal.Embedding as RustEmbedding

/**
 * A correction: a photo like a remembered one shows this listing.
 *
 * @property listingId the listing that the user named
 * @property time when, by the device's clock
 */
public data class Correction(val listingId: String, val time: Instant)

/**
 * Uses the corrections in a file from now on: photos whose right listing the user has named. The first correction
 * creates the file, in a folder that exists. It belongs to one catalogue, and never leaves the device.
 *
 * ```kotlin
 * engine.openCorrections(File(context.noBackupFilesDir, "corrections"))
 * engine.remember(photo, listingId = chosen.id) // "No, this one."
 * engine.search(photo).listings.first().corrected // true
 * ```
 *
 * @throws MagpieException.File if the file cannot be read, holds something else, or comes from a newer version
 */
public suspend fun SearchEngine.openCorrections(file: File): Unit =
    call { engine, _ -> engine.openCorrections(file.path) }

/**
 * Remembers that a photo shows a listing. Searches with photos like it find that listing first, see
 * [Listing.corrected]. Only the photo's embedding is kept, and at most 1,000 corrections: one more takes the place of
 * the oldest.
 *
 * @param crop the part of the photo that shows the listing; null for all of it
 * @throws MagpieException.Photo if the photo or the crop is invalid
 * @throws MagpieException.Request if there is no such listing, or no file of corrections is open
 * @throws MagpieException.File if the file cannot be written
 */
public suspend fun SearchEngine.remember(photo: ByteBuffer, listingId: String, crop: Crop? = null) {
    val bytes = photo.duplicate()
    val options = SearchOptions(crop = crop).rust()
    call { engine, cancel -> bytes.borrowed { engine.rememberPhoto(it, listingId, options, cancel) } }
}

/** Remembers that a photo in an array shows a listing. The array is copied once. */
public suspend fun SearchEngine.remember(photo: ByteArray, listingId: String, crop: Crop? = null): Unit =
    remember(ByteBuffer.wrap(photo), listingId, crop)

/**
 * Remembers that the photo or frame of an embedding shows a listing, see [SearchEngine.embed].
 *
 * @throws MagpieException.Model if the embedding comes from another model; otherwise as for a photo
 */
public suspend fun SearchEngine.remember(embedding: Embedding, listingId: String) {
    val rust = RustEmbedding(embedding.values.toList(), embedding.modelId)
    call { engine, _ -> engine.remember(rust, listingId) }
}

/**
 * Forgets the corrections to a listing, which the catalogue need not have any more, and returns their number.
 *
 * @throws MagpieException.Request if no file of corrections is open
 * @throws MagpieException.File if the file cannot be written
 */
public suspend fun SearchEngine.forget(listingId: String): Int = call { engine, _ -> engine.forget(listingId).toInt() }

/** Forgets all corrections; throws as [forget] does. */
public suspend fun SearchEngine.forgetAll(): Unit = call { engine, _ -> engine.forgetAll() }

/** Returns the corrections to listings of the catalogue, the latest first. The list is empty if no file is open. */
public suspend fun SearchEngine.corrections(): List<Correction> = call { engine, _ ->
    engine.corrections().map { Correction(it.listingId, Instant.ofEpochSecond(it.time.toLong())) }
}
