package server

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api/inventory"
)

// TestAppendedNodeIsItsJSON compares with encoding/json, over nodes of which
// every field is filled, none is, and each alone is.
func TestAppendedNodeIsItsJSON(t *testing.T) {
	texts := []string{"a", "", "ü \u2028 <b> & \"q\" \\ \t \x7f", "\xff", strings.Repeat("long ", 100)}
	for _, text := range texts {
		for only := -1; only < reflect.TypeFor[inventory.ComputeNode]().NumField(); only++ {
			var n inventory.ComputeNode
			v := reflect.ValueOf(&n).Elem()
			for i := range v.NumField() {
				if only == -1 || i == only {
					fillValue(t, v.Field(i), text)
				}
			}
			want, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			if got := appendNode(nil, &n); string(got) != string(want) {
				t.Errorf("field %d, text %q:\ngot  %s\nwant %s", only, text, got, want)
			}
		}
	}
	if got := string(appendNode([]byte("[{}"), new(inventory.ComputeNode))); got != `[{}{"hostname":"","architecture":""}` {
		t.Errorf("after something: got %s", got)
	}
}

// fillValue fills whatever there is.
func fillValue(t *testing.T, v reflect.Value, text string) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 1, 2, 3, 4, 5, 678000, time.FixedZone("", 3600))
		return
	case *inventory.Object:
		*x = `{"a":[1,"<ü>"]}`
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Uint64:
		v.SetUint(1<<63 + 7)
	case reflect.Int64:
		v.SetInt(-1<<63 + 7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(t, v.Elem(), text)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"b", "a", "<" + text} {
			value := reflect.New(v.Type().Elem()).Elem()
			fillValue(t, value, key+text)
			v.SetMapIndex(reflect.ValueOf(key), value)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillValue(t, v.Index(0), text)
	case reflect.Struct:
		for i := range v.NumField() {
			fillValue(t, v.Field(i), text)
		}
	default:
		t.Fatalf("a field of kind %v: teach who appends it, and this test", v.Kind())
	}
}

func BenchmarkAppendNode(b *testing.B) {
	n := shownNode(typicalNode())
	b.Run("by hand", func(b *testing.B) {
		buf := []byte{}
		for b.Loop() {
			buf = appendNode(buf[:0], &n)
		}
		b.SetBytes(int64(len(buf)))
	})
	b.Run("encoding/json", func(b *testing.B) {
		buf := []byte{}
		for b.Loop() {
			buf = appendJSON(buf[:0], &n)
		}
		b.SetBytes(int64(len(buf)))
	})
}
