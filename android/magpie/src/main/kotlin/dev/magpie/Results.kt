package dev.magpie

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.magpie.internal.Attribute as RustAttribute
import dev.magpie.internal.Confidence as RustConfidence
import dev.magpie.internal.Embedding as RustEmbedding
import dev.magpie.internal.Listing as RustListing
import dev.magpie.internal.SearchResults as RustResults
import dev.magpie.internal.StageTimes as RustTimes

/**
 * The results of a search. An app's tests can build their own.
 *
 * @property listings best first; ties are ordered by listing id
 * @property confidence how far the first listing can be trusted; null if the model is not calibrated, if the first
 * listing is corrected, or if a server found a different first listing
 * @property attributes what the network recognises in the photo
 * @property times how long each stage took on the phone
 * @property asked whether a server was asked, and with what outcome; null if the search was given no server
 * @property photoIncomplete whether a part of the photo's file was missing or invalid, so that the results may be worse
 */
public data class SearchResults(
    val listings: List<Listing>,
    val confidence: Confidence? = null,
    val attributes: List<Attribute> = emptyList(),
    val times: StageTimes = StageTimes(),
    val asked: Asked? = null,
    val photoIncomplete: Boolean = false,
)

/**
 * How far a search's first listing can be trusted.
 *
 * ```kotlin
 * heading.text = if (results.confidence?.enough == false) "No good match. Similar:" else "Found:"
 * ```
 *
 * It depends on the photo, the catalogue and the filter, but not on the limit, the minimum score or the group. In a
 * live search it belongs to the search with the current frame, although the displayed list may be older.
 *
 * @property probability probability that the first listing shows what the photo shows, 0 to 1; 0 if nothing was found
 * @property enough whether the probability reaches the model's threshold; if not, there is no good match
 */
public data class Confidence(val probability: Float, val enough: Boolean)

/**
 * A listing that was found.
 *
 * ```kotlin
 * title.text = listing["title"] ?: listing.id
 * ```
 *
 * @property id the catalogue's id of the listing
 * @property score cosine between the query and the matching photo, -1 to 1
 * @property photo name of the matching photo
 * @property photos names of all photos of the listing
 * @property fields the fields that have a value, in the catalogue's order
 * @property source who found the listing
 * @property corrected whether it comes first because the user has corrected a photo like this one, whatever its score;
 * see [SearchEngine.remember]
 */
public data class Listing(
    val id: String,
    val score: Float,
    val photo: String = "",
    val photos: List<String> = emptyList(),
    val fields: Map<String, String> = emptyMap(),
    val source: Source = Source.SHARD,
    val corrected: Boolean = false,
) {
    /** Returns the value of a field such as `title`, or null if the listing has none. */
    public operator fun get(field: String): String? = fields[field]

    /** Who found a listing. */
    public enum class Source {
        /** The phone, in its own catalogue. */
        SHARD,

        /** The server. */
        SERVER,

        /** Both. */
        BOTH,
    }
}

/**
 * Something that the network recognises in a photo, such as its colour.
 *
 * @property name the attribute, such as `colour`
 * @property label the most probable label, such as `green`; null if its probability is below the model's threshold
 * @property probability probability of the most probable label, 0 to 1, given even if [label] is null
 */
public data class Attribute(val name: String, val label: String?, val probability: Float)

/**
 * Wall-clock time of each stage of a search.
 *
 * @property decode decoding the photo; zero for a frame
 * @property prepare cropping, resizing and rotating
 * @property network running the network
 * @property search finding the nearest listings
 * @property listings reading the texts of the listings found
 */
public data class StageTimes(
    val decode: Duration = Duration.ZERO,
    val prepare: Duration = Duration.ZERO,
    val network: Duration = Duration.ZERO,
    val search: Duration = Duration.ZERO,
    val listings: Duration = Duration.ZERO,
) {
    /** The sum of all stages. */
    public val total: Duration get() = decode + prepare + network + search + listings
}

/**
 * The embedding of a photo, a vector of unit length, for comparisons. Searches do not need it.
 *
 * @property values the coordinates
 * @property modelId the model that computed it; embeddings of different models cannot be compared
 */
public class Embedding(public val values: FloatArray, public val modelId: String)

internal fun RustResults.public(): SearchResults = SearchResults(
    listings.map { it.public() },
    confidence?.public(),
    attributes.map { it.public() },
    times.public(),
    asked?.public(),
    photoIncomplete,
)

internal fun RustListing.public(): Listing {
    val values = fields.filter { it.value.isNotEmpty() }.associate { it.name to it.value }
    return Listing(id, score, photo, photos, values, Listing.Source.entries[source.ordinal], corrected)
}

internal fun RustEmbedding.public(): Embedding = Embedding(values.toFloatArray(), modelId)

private fun RustConfidence.public() = Confidence(probability, enough)

private fun RustAttribute.public() = Attribute(name, label, probability)

private fun RustTimes.public() = StageTimes(
    decodeMs.milliseconds,
    prepareMs.milliseconds,
    networkMs.milliseconds,
    searchMs.milliseconds,
    listingsMs.milliseconds,
)
