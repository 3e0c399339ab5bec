package dev.magpie

import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import dev.magpie.internal.Attribute as RustAttribute
import dev.magpie.internal.Embedding as RustEmbedding
import dev.magpie.internal.Listing as RustListing
import dev.magpie.internal.SearchResults as RustResults
import dev.magpie.internal.StageTimes as RustTimes

/**
 * What a search found.
 *
 * @property listings best first; ties in the order of listing ids
 * @property attributes what the network says of the photo
 * @property times how long each stage took
 */
public data class SearchResults(val listings: List<Listing>, val attributes: List<Attribute>, val times: StageTimes)

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
 */
public data class Listing(
    val id: String,
    val score: Float,
    val photo: String,
    val photos: List<String>,
    val fields: Map<String, String>,
) {
    /** The value of a field such as `title`; null where the listing has none. */
    public operator fun get(field: String): String? = fields[field]
}

/**
 * What the network says of a photo, e.g. that its colour is green.
 *
 * @property name which attribute, e.g. `colour`
 * @property label the most probable label, e.g. `green`
 * @property probability of that label, 0 to 1
 */
public data class Attribute(val name: String, val label: String, val probability: Float)

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

internal fun RustResults.public(): SearchResults =
    SearchResults(listings.map { it.public() }, attributes.map { it.public() }, times.public())

internal fun RustListing.public(): Listing =
    Listing(id, score, photo, photos, fields.filter { it.value.isNotEmpty() }.associate { it.name to it.value })

internal fun RustEmbedding.public(): Embedding = Embedding(values.toFloatArray(), modelId)

private fun RustAttribute.public() = Attribute(name, label, probability)

private fun RustTimes.public() = StageTimes(
    decodeMs.milliseconds,
    prepareMs.milliseconds,
    networkMs.milliseconds,
    searchMs.milliseconds,
    listingsMs.milliseconds,
)
