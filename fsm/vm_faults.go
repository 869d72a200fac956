package fsm

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// The amounts that a VM can have.
const (
	maxVCPUs     = 1024
	minMemoryMiB = 16
	maxMemoryMiB = 64 << 20
	maxDiskGiB   = 1 << 20
)

const badName = "must be 1 to 63 of a-z, 0-9 and -, not beginning with -, and no UUID"

// faults collects the fields that can never succeed as written.
type faults []api.FieldError

func (f *faults) wrong(bad bool, pointer, detail string) {
	if bad {
		*f = append(*f, api.FieldError{Pointer: pointer, Detail: detail})
	}
}

// refusal is nil when there are none.
func (f faults) refusal(op, msg string) error {
	if len(f) == 0 {
		return nil
	}
	return &api.Error{Kind: api.Invalid, Op: op, Msg: msg, Fields: f}
}

// amounts names what no VM can have; at is where they stand.
func (f *faults) amounts(at string, s api.VMSpec) {
	f.wrong(s.VCPUs < 1 || s.VCPUs > maxVCPUs, at+"/vcpus", "must be from 1 to 1024")
	f.wrong(s.MemoryMiB < minMemoryMiB || s.MemoryMiB > maxMemoryMiB, at+"/memory_mib", "must be from 16 to 67108864")
	f.wrong(s.DiskGiB < 0 || s.DiskGiB > maxDiskGiB, at+"/disk_gib", "must be from 0 to 1048576")
}

// restart names a policy that there is not; empty is the default.
func (f *faults) restart(pointer string, p api.RestartPolicy) {
	known := []api.RestartPolicy{"", api.RestartAlways, api.RestartOnFailure, api.RestartNever}
	f.wrong(!slices.Contains(known, p), pointer, "must be always, on-failure or never")
}

var labelKey = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,63}$`)

// labelFaults names the labels that are too many, or have a key or value that no label has.
func labelFaults(at string, labels map[string]string) (f faults) {
	f.wrong(len(labels) > maxLabels, at, "at most "+strconv.Itoa(maxLabels)+" labels")
	if len(labels) > maxLabels {
		return f
	}
	for key, value := range ordered(labels) {
		here := at + "/" + escapePointer(key)
		f.wrong(!labelKey.MatchString(key), here, "a label's key is 1 to 63 of A-Z a-z 0-9 . _ / -")
		// Not unicode.IsPrint: releases of Go differ in what they know of Unicode.
		control := strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f })
		f.wrong(control || utf8.RuneCountInString(value) > maxLabelValue, here, "a label's value is at most 255 printable characters")
	}
	return f
}

// escapePointer is a part of a JSON pointer (RFC 6901).
var escapePointer = strings.NewReplacer("~", "~0", "/", "~1").Replace
