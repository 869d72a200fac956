package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as people write it: 512MiB, 4GiB, 1.5TiB.
type Size int64

// The units of a Size are powers of 1024, as the sizes of memory and disks of VMs are.
const (
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var units = []struct {
	name string
	size Size
}{{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a size: a number and one of B, KiB, MiB, GiB, TiB, PiB, or
// K, M, G, T, P for short. A decimal unit (GB) is refused, for people who
// write it mean one or the other; 0 alone needs no unit.
func ParseSize(s string) (Size, error) {
	if s == "0" {
		return 0, nil
	}
	number, unit := splitUnit(s)
	factor, known := unitSize(unit)
	n, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || n < 0 || strings.HasPrefix(number, "+"):
		return 0, fmt.Errorf("want a size such as 512MiB or 4GiB, got %q", s)
	case unit == "":
		return 0, fmt.Errorf("size %q has no unit; write %sMiB or %sGiB", s, s, s)
	case !known:
		return 0, fmt.Errorf("size %q has the unit %q; write one of B, KiB, MiB, GiB, TiB, PiB (powers of 1024)", s, unit)
	case n*float64(factor) >= math.MaxInt64:
		return 0, fmt.Errorf("size %q is too large", s)
	}
	return Size(n * float64(factor)), nil
}

func splitUnit(s string) (number, unit string) {
	end := strings.LastIndexAny(s, "0123456789.") + 1
	return s[:end], strings.TrimSpace(s[end:])
}

func unitSize(unit string) (Size, bool) {
	for _, u := range units {
		if strings.EqualFold(unit, u.name) || len(u.name) == 3 && strings.EqualFold(unit, u.name[:1]) {
			return u.size, true
		}
	}
	return 0, false
}

// String writes the size in the largest unit that it is a whole number of.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.name)
		}
	}
	return "0"
}

// Whole is the size in a unit; an error when it is not a whole number of it.
func (s Size) Whole(unit Size) (int64, error) {
	if s%unit != 0 {
		return 0, fmt.Errorf("%s is not a whole number of %s", s, unit.String()[1:])
	}
	return int64(s / unit), nil
}
