package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func TestAnswer(t *testing.T) {
	Handle("sum", func(args Args) (any, error) {
		var a struct{ A, B int }
		err := args.Decode(&a)
		return a.A + a.B, err
	})
	Handle("fails", func(Args) (any, error) { return nil, errors.New("no luck") })
	Handle("who", func(Args) (any, error) {
		var s struct{ Greeting string }
		err := Settings(&s)
		return s.Greeting + " " + Caller().ID, err
	})
	Handle("channel", func(Args) (any, error) { return make(chan int), nil })
	Handle("_hidden", func(Args) (any, error) { return nil, nil })
	for in, want := range map[string]string{
		`{"function":"sum","args":{"a":1,"b":2}}`: `{"result":3}`,
		`{"function":"sum","args":[1]}`:           `{"error":"arguments: json: cannot unmarshal array into Go value of type struct { A int; B int }"}`,
		`{"function":"sum"}`:                      `{"result":0}`,
		`{"function":"fails"}`:                    `{"error":"no luck"}`,
		`{"function":"who","settings":{"greeting":"hi"},"caller":{"id":"uid:0"}}`: `{"result":"hi uid:0"}`,
		`{"function":"who"}`:        `{"result":" "}`,
		`{"function":"channel"}`:    `{"error":"return invalid result: json: unsupported type: chan int"}`,
		`{"function":"nobody"}`:     `{"error":"no such function: nobody","no_function":true}`,
		`{"function":"_functions"}`: `{"result":["channel","fails","sum","who"]}`,
		`{`:                         `{"error":"unexpected end of JSON input"}`,
	} {
		if got := string(answer([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// What the helpers ask for is what the host knows by that name.
func TestHost(t *testing.T) {
	var asked []string
	answers := map[string]string{
		"kv.get": `{"result":"v"}`, "kv.add_u32": `{"result":5}`, "kv.keys": `{"result":["a","b"]}`, "kv.get_json": `{"result":{"x":1}}`,
		"now": `{"result":17}`, "call": `{"result":[1]}`, "kv.remove": `{"error":"not granted"}`,
	}
	before := ask
	defer func() { ask = before }()
	ask = func(request []byte) []byte {
		asked = append(asked, string(request))
		var r struct{ Name string }
		if err := json.Unmarshal(request, &r); err != nil {
			t.Error(err)
		}
		if a, is := answers[r.Name]; is {
			return []byte(a)
		}
		return []byte("{}")
	}
	text, there, err := KV.Get("k")
	sum, err2 := KV.Add("n", 2)
	keys, err3 := KV.Keys("p")
	now, err4 := Now()
	var v struct{ X int }
	var result []int
	err5 := errors.Join(KV.GetJSON("j", &v), KV.SetJSON("j", v), KV.Set("a", "b"), Log("a", 1), Error("b"), Call("s", "f", []int{2}, &result), Module("m", "f", nil, nil))
	got := fmt.Sprintf("%v %v %v %v %v %v %v %v", text, there, sum, keys, now, v, result, errors.Join(err, err2, err3, err4, err5))
	if want := "v true 5 [a b] 17 {1} [1] <nil>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := KV.Remove("a"); err == nil || err.Error() != "not granted" {
		t.Errorf("got %v, want what the host said", err)
	}
	want := []string{
		`{"args":{"key":"k"},"name":"kv.get"}`, `{"args":{"key":"n","n":2},"name":"kv.add_u32"}`, `{"args":{"prefix":"p"},"name":"kv.keys"}`,
		`{"args":{},"name":"now"}`, `{"args":{"key":"j"},"name":"kv.get_json"}`, `{"args":{"key":"j","value":{"X":1}},"name":"kv.set_json"}`,
		`{"args":{"key":"a","text":"b"},"name":"kv.set"}`, `{"args":{"text":"a 1"},"name":"log"}`, `{"args":{"text":"b"},"name":"error"}`,
		`{"args":{"args":[2],"function":"f","service":"s"},"name":"call"}`, `{"args":{"args":null,"function":"f","module":"m"},"name":"module_call"}`,
		`{"args":{"key":"a"},"name":"kv.remove"}`,
	}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("the host was asked\n%q\nwant\n%q", asked, want)
	}
}
