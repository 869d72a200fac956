package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/inventory"
)

// MaxNodes is how many nodes one request may hold.
const MaxNodes = 10000

// The decoders give the object of a request's body. xname and location_string
// are one field, XName, when they are done; so are ipv4_address and ip_address.
// Their errors are *api.Error: Malformed for what is no JSON of the wanted
// shape, Invalid with a pointer to each fault otherwise. Strings may share the
// memory of one copy of the body: who keeps them for long keeps all of it.

// DecodeNode reads one compute node.
func DecodeNode(body []byte) (inventory.ComputeNode, error) {
	return one("ComputeNode", body, readNode)
}

// DecodeBMC reads one BMC.
func DecodeBMC(body []byte) (inventory.BMC, error) {
	return one("BMC", body, readBMC)
}

// DecodeCollection reads one node collection.
func DecodeCollection(body []byte) (inventory.NodeCollection, error) {
	return one("NodeCollection", body, readCollection)
}

// DecodeNodes reads compute nodes: one object, or an array of at most MaxNodes;
// array says which. Pointers to faults in an array begin with the item's index.
func DecodeNodes(body []byte) (nodes []inventory.ComputeNode, array bool, err error) {
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) {
		n, err := DecodeNode(body)
		if err != nil {
			return nil, false, err
		}
		return []inventory.ComputeNode{n}, false, nil
	}
	nodes, err = items("ComputeNode", &scanner{text: string(body)}, readNode)
	return nodes, true, err
}

// one reads a body that is a single object.
func one[T any](kind string, body []byte, read func(*scanner, *T) bool) (v T, err error) {
	s := scanner{text: string(body)}
	if read(&s, &v) && s.ended() {
		return v, nil
	}
	return *new(T), why(kind, body)
}

// why says what is wrong with a body that was not taken.
func why(kind string, body []byte) error {
	if !json.Valid(body) {
		return malformed(notJSON)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return malformed("the body must be a JSON object")
	}
	faults, err := judge(Published(kind), "", body, 0)
	if err != nil {
		return err
	}
	return invalid(orUnclear(faults, ""))
}

// usualSize is how many bytes a node has at least, as a rule.
const usualSize = 512

// items reads a body that is an array, and all of it also when an item is
// wrong: whoever sent it wants to know of every one.
func items[T any](kind string, s *scanner, read func(*scanner, *T) bool) ([]T, error) {
	list := make([]T, 0, min(MaxNodes, 1+len(s.text)/usualSize))
	var faults []api.FieldError
	var broken error
	n := 0
	whole := s.array(func() bool {
		if n == MaxNodes {
			broken = invalid([]api.FieldError{{Pointer: "", Detail: fmt.Sprintf("there are more than %d items; send them in several requests", MaxNodes)}})
			return false
		}
		s.next()
		begin := s.at
		list = append(list, *new(T))
		if !read(s, &list[n]) {
			more, err := whyItem(kind, n, s, begin)
			if err != nil {
				broken = err
				return false
			}
			faults = append(faults, more...)
		}
		n++
		return len(faults) < maxFaults
	})
	switch {
	case broken != nil:
		return nil, broken
	case len(faults) > 0:
		return nil, invalid(faults)
	case !whole || !s.ended():
		return nil, malformed(notJSON)
	}
	return list, nil
}

// whyItem says what is wrong with the n-th item, which begins at begin, and
// puts the scanner behind it.
func whyItem(kind string, n int, s *scanner, begin int) ([]api.FieldError, error) {
	var raw json.RawMessage
	if json.NewDecoder(strings.NewReader(s.text[begin:])).Decode(&raw) != nil {
		return nil, malformed(notJSON)
	}
	s.at, s.depth = begin+len(raw), 1
	at := "/" + strconv.Itoa(n)
	faults, err := judge(Published(kind), at, raw, 1)
	return orUnclear(faults, at), err
}

// orUnclear makes sure that what was not taken has a fault.
func orUnclear(faults []api.FieldError, at string) []api.FieldError {
	if len(faults) == 0 {
		return []api.FieldError{{Pointer: at, Detail: "this value is not understood"}}
	}
	return faults
}

const notJSON = "the body is not valid JSON"

func malformed(detail string) error {
	return &api.Error{Kind: api.Malformed, Op: "body", Msg: detail, Fields: []api.FieldError{{Pointer: "", Detail: detail}}}
}

func invalid(faults []api.FieldError) error {
	if len(faults) == 0 {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Op: "body", Msg: "the request is not valid: see errors", Fields: faults[:min(len(faults), maxFaults)]}
}
