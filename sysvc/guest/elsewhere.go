//go:build !wasip1

package guest

// ask is where there is no host: in tests of a module that run without orchd.
var ask = func([]byte) []byte { return []byte(`{"error":"there is no host outside of orchd"}`) }
