package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/orchd/orchd/api/nearest"
	"github.com/orchd/orchd/api/planted"
)

// envPrefix begins the name of every variable that orchd looks at.
const envPrefix = "ORCHD_"

// notKeys are variables that set no key: the client's, the name of the file, the bent clock of tests.
var notKeys = []string{
	"ORCHD_ADDR", "ORCHD_TOKEN", "ORCHD_TOKEN_FILE", "ORCHD_CACERT", "ORCHD_CLIENT_CERT", "ORCHD_CLIENT_KEY",
	"ORCHD_CONTEXT", "ORCHD_OUTPUT", "ORCHD_CONFIG", "ORCHD_TEST_CLOCK",
}

// readEnviron reads ORCHD_NAME, ORCHD_API__LISTEN and the like, with "__" between levels.
func readEnviron(environ []string) (layer, error) {
	l := newLayer()
	var errs []error
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(notKeys, name) && !slices.Contains(planted.Variables(), name) {
			errs = append(errs, l.takeVariable(name, value))
		}
	}
	return l, errors.Join(errs...)
}

func (l layer) takeVariable(name, value string) error {
	for _, k := range keys {
		if variable(k.path) == name {
			return l.set(k, value, name)
		}
	}
	if k, own := ownPackage(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "__", "."))); own {
		return l.set(k, value, name)
	}
	names := slices.Clone(notKeys)
	for _, k := range keys {
		names = append(names, variable(k.path))
	}
	if near := nearest.Of(name, names); near != "" {
		return fmt.Errorf("environment: unknown variable %s; did you mean %s?", name, near)
	}
	return fmt.Errorf("environment: unknown variable %s; unset it: names that begin with %s are orchd's own", name, envPrefix)
}

// testClock reads ORCHD_TEST_CLOCK, "OFFSET,RATE" such as "90s,1.01": the
// offset a duration or a number of seconds, the rate 1 when left out.
func testClock(environ []string) (Clock, error) {
	c := Clock{Rate: 1}
	value := lookup(environ, "ORCHD_TEST_CLOCK")
	if value == "" {
		return c, nil
	}
	offset, rate, hasRate := strings.Cut(value, ",")
	var errOffset, errRate error
	if c.Offset, errOffset = time.ParseDuration(offset); errOffset != nil {
		c.Offset, errOffset = time.ParseDuration(offset + "s")
	}
	if hasRate {
		c.Rate, errRate = strconv.ParseFloat(rate, 64)
	}
	if errOffset != nil || errRate != nil || !(c.Rate > 0) {
		return c, fmt.Errorf("ORCHD_TEST_CLOCK: want OFFSET,RATE such as 90s,1.01, got %q", value)
	}
	return c, nil
}
