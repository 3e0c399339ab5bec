package dev.magpie.android

import android.graphics.Bitmap
import android.graphics.ImageFormat
import android.media.Image
import android.media.ImageReader
import android.os.Handler
import dev.magpie.Frame
import dev.magpie.Pixels
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import java.nio.ByteBuffer

/**
 * Returns a camera image as a frame, without a copy: it is borrowed until [Image.close]. CameraX provides such an image
 * with `ImageProxy.getImage`, and the rotation in its `imageInfo`.
 *
 * @param rotation the clockwise rotation that makes it upright: 0, 90, 180 or 270 degrees
 * @param mirrored whether the upright image is then mirrored, as a front camera's preview is
 * @throws IllegalArgumentException if the format is not [ImageFormat.YUV_420_888]
 */
public fun Image.toFrame(rotation: Int, mirrored: Boolean = false): Frame {
    require(format == ImageFormat.YUV_420_888) { "the image format is $format, not YUV_420_888" }
    val (y, u, v) = planes
    // Android guarantees luma samples without gaps, and equal strides of both chroma planes.
    val pixels = Pixels.yuv420(y.buffer, u.buffer, v.buffer, y.rowStride, u.rowStride, u.pixelStride)
    return Frame(pixels, width, height, rotation, mirrored)
}

/**
 * The images of a reader as frames, always the newest: images that arrive while a frame is processed are dropped.
 *
 * A frame's image is closed when the collector is done with the frame, so nothing may keep it longer: do not put
 * `buffer`, `conflate` or `flowOn` between this flow and the search.
 *
 * @param handler where the camera's callbacks run
 * @param rotation called for each image: the clockwise rotation that makes it upright
 */
public fun ImageReader.frames(handler: Handler, rotation: () -> Int): Flow<Frame> = flow {
    val arrived = Channel<Unit>(Channel.CONFLATED)
    setOnImageAvailableListener({ arrived.trySend(Unit) }, handler)
    try {
        while (true) {
            arrived.receive()
            acquireLatestImage()?.use { emit(it.toFrame(rotation())) }
        }
    } finally {
        setOnImageAvailableListener(null, null)
    }
}

/** Returns a bitmap as a frame. Copies the pixels, because a bitmap's memory cannot be borrowed. */
public fun Bitmap.toFrame(): Frame {
    val readable = if (config == Bitmap.Config.ARGB_8888) this else copy(Bitmap.Config.ARGB_8888, false)
    val bytes = ByteBuffer.allocateDirect(readable.rowBytes * readable.height)
    // The byte order in memory is RGBA, despite the name ARGB_8888.
    readable.copyPixelsToBuffer(bytes)
    bytes.rewind()
    return Frame(Pixels.rgba(bytes, readable.rowBytes), readable.width, readable.height)
}
