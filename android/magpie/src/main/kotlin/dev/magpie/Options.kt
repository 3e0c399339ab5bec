package dev.magpie

import dev.magpie.internal.Crop as RustCrop
import dev.magpie.internal.Group as RustGroup
import dev.magpie.internal.SearchOptions as RustOptions

/**
 * What to search for, besides the photo.
 *
 * ```kotlin
 * val options = SearchOptions(limit = 20, filter = column("price") atMost 50, crop = Crop(120, 80, 600, 600))
 * ```
 *
 * @property limit number of listings to return, 1 to 10,000
 * @property filter restricts the listings; null for all
 * @property crop the part of the photo that shows the object; null for all of it
 * @property recall the share of the true nearest photos that the search should find, 0 to 1; null for the default
 * @property minScore leaves out listings with a lower cosine
 * @property nearDuplicates leaves out a listing if the cosine between its photo and that of a better listing is at
 * least this; 0.97 is about the same photo
 * @property group returns at most a given number of listings per value of a column
 */
public data class SearchOptions(
    val limit: Int = 10,
    val filter: Filter? = null,
    val crop: Crop? = null,
    val recall: Float? = null,
    val minScore: Float? = null,
    val nearDuplicates: Float? = null,
    val group: Group? = null,
) {
    init {
        require(limit in 1..MAX_LIMIT) { "the limit must be 1 to $MAX_LIMIT, not $limit" }
    }

    internal fun rust(): RustOptions = RustOptions(
        k = limit.toUInt(),
        filter = filter?.toString(),
        crop = crop?.rust(),
        recall = recall,
        minScore = minScore,
        nearDuplicates = nearDuplicates,
        group = group?.rust(),
    )

    public companion object {
        /** The largest number of listings that a search returns. */
        public const val MAX_LIMIT: Int = 10_000
    }
}

/**
 * A part of the upright photo or frame.
 *
 * @property x left edge, in pixels
 * @property y top edge, in pixels
 * @property width width in pixels, at least 1
 * @property height height in pixels, at least 1
 */
public data class Crop(val x: Int, val y: Int, val width: Int, val height: Int) {
    init {
        require(x >= 0 && y >= 0 && width >= 1 && height >= 1) { "invalid crop: $x, $y, $width x $height" }
    }

    internal fun rust(): RustCrop = RustCrop(x.toUInt(), y.toUInt(), width.toUInt(), height.toUInt())
}

/**
 * Limits the number of listings per value of a column, for example to show no more than two listings of each shop.
 *
 * @property column a filter column
 * @property most the largest number of listings per value, at least 1
 */
public data class Group(val column: String, val most: Int) {
    init {
        require(most >= 1) { "a group must allow at least one listing, not $most" }
    }

    internal fun rust(): RustGroup = RustGroup(column, most.toUInt())
}
