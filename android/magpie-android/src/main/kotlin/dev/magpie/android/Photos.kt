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

/** Size limit of a photo file; the library rejects larger ones as well. */
private const val MAX_BYTES = 64 shl 20

/** Bound for the longer side of a photo decoded by Android: larger than any network's input. */
private const val MAX_SIDE = 1024

/** The formats that the library decodes itself, scaled to the size it needs. */
private val decoded = setOf("image/jpeg", "image/png", "image/webp")

/**
 * Finds the listings most similar to a photo from another app or from the gallery.
 *
 * The library decodes JPEG, PNG and WebP. Android 9 and later decodes other formats, such as HEIC, to a small bitmap.
 *
 * @throws MagpieException.File if the photo cannot be read
 * @throws MagpieException.Photo if it is not a photo, or is larger than 64 MiB
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

/** Finds the listings most similar to a bitmap. Its pixels are copied once. */
public suspend fun SearchEngine.search(bitmap: Bitmap, options: SearchOptions = SearchOptions()): SearchResults =
    search(bitmap.toFrame(), options)

private fun ContentResolver.read(photo: Uri): ByteArray = reading {
    val stream = openInputStream(photo) ?: throw FileNotFoundException("the app that provides it does not respond")
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

/** Decodes with Android's decoder, which also rotates the picture upright. */
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

/** Translates the exceptions of another app's content provider. */
private inline fun <T> reading(read: () -> T): T = try {
    read()
} catch (e: IOException) {
    throw MagpieException.File("cannot read the photo: ${e.message}", e)
} catch (e: SecurityException) {
    throw MagpieException.File("no permission to read the photo: ${e.message}", e)
}
