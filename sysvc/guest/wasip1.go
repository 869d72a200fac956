//go:build wasip1

package guest

import (
	"runtime"
	"unsafe"
)

// held are the blocks that the host was given to write into, by address: nothing else
// refers to them until they are read.
var held = map[uintptr][]byte{}

//go:wasmexport alloc
func alloc(size uint32) uint32 {
	block := make([]byte, max(size, 1))
	at := uintptr(unsafe.Pointer(&block[0]))
	held[at] = block
	return uint32(at)
}

// take gives what the host has written, and lets go of it.
func take(at, length uint32) []byte {
	block := held[uintptr(at)]
	delete(held, uintptr(at))
	return block[:length]
}

// result stays where it is until the host has read it.
var kept []byte

func pack(text []byte) (at, length uint32) {
	if len(text) == 0 {
		return 0, 0
	}
	return uint32(uintptr(unsafe.Pointer(&text[0]))), uint32(len(text))
}

//go:wasmexport call
func call(at, length uint32) uint64 {
	kept = answer(take(at, length))
	at, length = pack(kept)
	return uint64(at)<<32 | uint64(length)
}

//go:wasmimport orchd host
func host(at, length uint32) uint64

// ask hands a request to the host and gives its answer. The host calls alloc meanwhile.
func ask(request []byte) []byte {
	at, length := pack(request)
	packed := host(at, length)
	runtime.KeepAlive(request) // until here the host may read it
	return take(uint32(packed>>32), uint32(packed))
}
