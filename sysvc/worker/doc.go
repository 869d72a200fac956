// Package worker runs what packages bring, in child processes that can do nothing else.
//
// A Pool keeps a few children of orchd's own binary. Each runs one call at a time:
// Starlark (package starlark) or WebAssembly (package wasm). A child holds no file, no
// socket and no right, has a memory limit, and is killed when its call takes too long; that
// fails the one call, and the next call starts another child. What a call does to the world
// it asks of its Host, in this process, which is where rights are looked at: nothing that a
// child says is believed (frame.go, conversation.go).
//
// To see how a call goes, read Pool.Call, then conversation.go for this side and
// session.go for the child's. DESIGN.md says why it is so, and how to write modules in
// other languages.
package worker
