// Package xname knows the names of the places and parts of a machine room:
// x1000c4s4b1n1 is node 1 behind controller 1 in slot 4 of chassis 4 of cabinet 1000.
//
// A name is a path. Each letter says what is counted at that level, the number
// after it which one is meant, and the row of letters alone decides the Type.
// Names are kept and shown as they were given and compared by their Canonical form.
//
// Two grammars meet here. TypeOf follows the naming of the Hardware Management
// Services of HPE Cray machines (github.com/Cray-HPE/hms-xname, xnametypes,
// v1.4.0), with one difference: there each number has its own bound that
// reflects the machines sold (chassis 0 to 7), here any number of up to five
// digits is taken. ParseNode and ParseBMC are the stricter grammar of
// OpenCHAMI's node-orchestrator for nodes and their controllers: lower case
// only, and at least three digits for the cabinet. All that they take, TypeOf
// takes too.
//
// Start with Canonical, then TypeOf and NodeName. Nothing here uses a regular
// expression, because lists of a million names pass through.
package xname

import "strings"

// Canonical returns the form in which names are compared: ASCII letters in
// lower case and no leading zeros in any number, so X0003C0 becomes x3c0. It takes any
// string, a name or not; bytes beyond ASCII stay as they are. A string that is
// canonical already is returned without allocation.
func Canonical(s string) string {
	keep := canonicalPrefix(s)
	if keep == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:keep])
	inNumber := false // the first change is a capital letter, or a zero that starts a number
	for i := keep; i < len(s); i++ {
		if !inNumber && leadingZero(s, i) {
			continue
		}
		b.WriteByte(lower(s[i]))
		inNumber = isDigit(s[i])
	}
	return b.String()
}

// canonicalPrefix counts the bytes of s before the first that Canonical must change or drop.
func canonicalPrefix(s string) int {
	inNumber := false
	for i := range len(s) {
		if isUpper(s[i]) || !inNumber && leadingZero(s, i) {
			return i
		}
		inNumber = isDigit(s[i])
	}
	return len(s)
}

// leadingZero reports whether s[i], known to start a number if it is a digit, is a zero that more digits follow.
func leadingZero(s string, i int) bool {
	return s[i] == '0' && i+1 < len(s) && isDigit(s[i+1])
}

// Parent returns the canonical name one level up: the controller of a node, the
// chassis of a slot. Cabinets and cooling units stand in the system, s0, and a
// soft partition p1.2 in the hard one, p1. It returns "" for what has nothing
// above it: the system, a hard partition, an SMS box, the words all, all_comp,
// all_svc, and whatever is no name.
func Parent(s string) string {
	c := Canonical(s)
	switch typeOfCanonical(c) {
	case Invalid, System, SMSBox, All, AllComp, AllSvc:
		return ""
	case Cabinet, CDU:
		return "s0"
	case Partition:
		hard, _, soft := strings.Cut(c, ".")
		if !soft {
			return ""
		}
		return hard
	}
	letter := strings.LastIndexFunc(c, func(r rune) bool { return r >= 'a' })
	return c[:letter]
}

// digits counts the digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func lower(c byte) byte {
	if isUpper(c) {
		return c + ('a' - 'A')
	}
	return c
}
