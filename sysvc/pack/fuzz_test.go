package pack

import (
	"testing"
	"testing/fstest"
)

// FuzzPackage loads packages whose manifest and settings may be anything: refused with
// where and what, or a package whose digest and parts can be told.
func FuzzPackage(f *testing.F) {
	f.Add([]byte("name = \"hello\"\nversion = \"1.0.0\"\nscope = \"cluster\"\n\n[[services]]\nalias = \"hello\"\n  [[services.modules]]\n  name = \"main\"\n  file = \"main.wasm\"\n"), []byte(""))
	f.Add([]byte("name = \"${name}\"\nversion = \"1.0.0\"\n[settings]\nname = \"x\"\nn = 1\n"), []byte("n = \"two\"\n"))
	f.Add([]byte("name = \"a\"\nversion = \"1\"\n[[spells]]\nalias = \"s\"\nscript = \"../../etc/passwd\"\n[spells.trigger]\nevery_seconds = -1\n"), []byte("x = [1,"))
	f.Add([]byte("[[services]]\n[services.kv]\na = 1e400\nb = 9223372036854775808\n"), []byte("\xff"))
	f.Add([]byte("name = 7\nname = 8\n"), []byte("[a.b]\n[a]\nb = 1"))
	f.Fuzz(func(t *testing.T, manifest, settings []byte) {
		p, err := Load(fstest.MapFS{manifestFile: {Data: manifest}, settingsFile: {Data: settings}, "main.wasm": {Data: []byte("\x00asm\x01\x00\x00\x00")}, "main.star": {Data: []byte("def main():\n  pass\n")}})
		if err != nil {
			return
		}
		p.InitDigest()
		if p.Name == "" || p.Digest() == "" {
			t.Errorf("a package without a name or a digest was taken: %+v", p)
		}
		for _, s := range p.Services {
			if _, known := p.Service(s.Alias); !known {
				t.Errorf("service %q is not found by its alias", s.Alias)
			}
		}
		again, err := p.With(p.Settings)
		if err != nil || again.Digest() != p.Digest() {
			t.Errorf("made again under its own settings it has the digest %s, had %s (%v)", again.Digest(), p.Digest(), err)
		}
	})
}
