package dev.magpie.android

import android.annotation.TargetApi
import android.content.ContentResolver
import android.content.Context
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import dev.magpie.Frame
import dev.magpie.MagpieException
import dev.magpie.SearchEngine
import dev.magpie.SearchOptions
import dev.magpie.SearchResults
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext
import java.io.ByteArrayOutputStream
import java.io.FileNotFoundException
import java.io.IOException
import java.nio.ByteBuffer

/** Largest photo file that is read; the library refuses larger ones. */
private const val MAX_BYTES = 64 shl 20

/** Longer side of a photo that Android decodes: more than any network looks at. */
private const val MAX_SIDE = 1024

/** What the library decodes by itself, at the scale that it needs. */
private val decoded = setOf("image/jpeg", "image/png", "image/webp")

/**
 * Finds the listings most like a photo of another app or of the gallery.
 *
 * JPEG, PNG and WebP are decoded by the library; of other formats, such as HEIC, Android makes a small bitmap (from
 * Android 9 on).
 *
 * @throws MagpieException.File where the photo cannot be read
 * @throws MagpieException.Photo where it is none, or larger than 64 MiB
 */
public suspend fun SearchEngine.search(
    context: Context,
    photo: Uri,
    options: SearchOptions = SearchOptions(),
): SearchResults {
    val resolver = context.contentResolver
    val (type, bytes) = withContext(Dispatchers.IO) { resolver.getType(photo) to resolver.read(photo) }
    if (type == null || type in decoded || Build.VERSION.SDK_INT < Build.VERSION_CODES.P) return search(bytes, options)
    return search(withContext(Dispatchers.IO) { decode(bytes) }, options)
}

/** Finds the listings most like a bitmap. Its pixels are copied once. */
public suspend fun SearchEngine.search(bitmap: Bitmap, options: SearchOptions = SearchOptions()): SearchResults =
    search(bitmap.toFrame(), options)

private fun ContentResolver.read(photo: Uri): ByteArray = reading {
    val stream = openInputStream(photo) ?: throw FileNotFoundException("the app that has it does not answer")
    stream.use {
        val bytes = ByteArrayOutputStream(maxOf(it.available(), 1 shl 16))
        val buffer = ByteArray(1 shl 16)
        while (true) {
            val read = it.read(buffer)
            if (read < 0) break
            if (bytes.size() + read > MAX_BYTES) throw MagpieException.Photo("the file is larger than $MAX_BYTES bytes")
            bytes.write(buffer, 0, read)
        }
        bytes.toByteArray()
    }
}

/** Android's decoder, which turns the picture upright by itself. */
@TargetApi(Build.VERSION_CODES.P)
private fun decode(photo: ByteArray): Frame = try {
    val bitmap = ImageDecoder.decodeBitmap(ImageDecoder.createSource(ByteBuffer.wrap(photo))) { decoder, info, _ ->
        decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        val longer = maxOf(info.size.width, info.size.height)
        decoder.setTargetSampleSize(maxOf(1, longer / MAX_SIDE))
    }
    bitmap.toFrame()
} catch (e: IOException) {
    throw MagpieException.Photo("Android cannot decode it: ${e.message}", e)
}

/** What another app's provider throws is not ours to let through. */
private inline fun <T> reading(read: () -> T): T = try {
    read()
} catch (e: IOException) {
    throw MagpieException.File("the photo cannot be read: ${e.message}", e)
} catch (e: SecurityException) {
    throw MagpieException.File("the photo may not be read: ${e.message}", e)
}
