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
 * What a search found.
 *
 * @property listings best first; ties in the order of listing ids
 * @property confidence how far the first listing can be trusted; null where the model is not calibrated, or a server
 * found another first one
 * @property attributes what the network says of the photo
 * @property times how long each stage took on the phone
 * @property asked whether a server was asked, and how that ended; null where none was named
 */
public data class SearchResults(
    val listings: List<Listing>,
    val confidence: Confidence?,
    val attributes: List<Attribute>,
    val times: StageTimes,
    val asked: Asked? = null,
)

/**
 * How far a search's first listing can be trusted.
 *
 * ```kotlin
 * heading.text = if (results.confidence?.enough == false) "No good match. Similar:" else "Found:"
 * ```
 *
 * It depends on the photo, the catalogue and the filter, not on how many listings are asked for, nor on the least score
 * or the group. It is that of the frame's search in a live search, whose list may hold still meanwhile.
 *
 * @property probability that the first listing is what the photo shows, 0 to 1; 0 where nothing was found
 * @property enough whether that is enough, by the model's threshold; if not, there is no good match
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
 * @property score cosine between the query and the photo that was found, -1 to 1
 * @property photo name of the photo that was found
 * @property photos names of all its photos
 * @property fields its fields in the catalogue's order; those without a value are not among them
 * @property source who found it
 */
public data class Listing(
    val id: String,
    val score: Float,
    val photo: String,
    val photos: List<String>,
    val fields: Map<String, String>,
    val source: Source = Source.SHARD,
) {
    /** The value of a field such as `title`; null where the listing has none. */
    public operator fun get(field: String): String? = fields[field]

    /** Who found a listing. */
    public enum class Source {
        /** The phone, in its catalogue. */
        SHARD,

        /** The server. */
        SERVER,

        /** Both. */
        BOTH,
    }
}

/**
 * What the network says of a photo, e.g. that its colour is green.
 *
 * @property name which attribute, e.g. `colour`
 * @property label the most probable label, e.g. `green`; null where the network is not sure enough of it to say it
 * @property probability of the most probable label, said or not, 0 to 1
 */
public data class Attribute(val name: String, val label: String?, val probability: Float)

/**
 * Wall-clock time of each stage of a search.
 *
 * @property decode bytes to pixels; zero for a frame
 * @property prepare crop, resize, turn
 * @property network the network
 * @property search nearest listings
 * @property listings texts of the listings found
 */
public data class StageTimes(
    val decode: Duration,
    val prepare: Duration,
    val network: Duration,
    val search: Duration,
    val listings: Duration,
) {
    /** All stages together. */
    public val total: Duration get() = decode + prepare + network + search + listings
}

/**
 * A photo as a point on the unit sphere, for comparisons; searches do not need it.
 *
 * @property values the coordinates
 * @property modelId the model that made it: embeddings of different models cannot be compared
 */
public class Embedding internal constructor(public val values: FloatArray, public val modelId: String)

internal fun RustResults.public(): SearchResults = SearchResults(
    listings.map { it.public() },
    confidence?.public(),
    attributes.map { it.public() },
    times.public(),
    asked?.public(),
)

internal fun RustListing.public(): Listing {
    val values = fields.filter { it.value.isNotEmpty() }.associate { it.name to it.value }
    return Listing(id, score, photo, photos, values, Listing.Source.entries[source.ordinal])
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
