package oauth

import (
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// The slow way to read an object strictly, by go-jose's decoder.
func referenceObject(text string) (map[string]any, bool) {
	var v any
	if !utf8.ValidString(text) || json.Unmarshal([]byte(text), &v) != nil {
		return nil, false
	}
	object, ok := v.(map[string]any)
	return object, ok
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, inner := range v {
			deepest = max(deepest, depth(inner))
		}
	case []any:
		for _, inner := range v {
			deepest = max(deepest, depth(inner))
		}
	default:
		return 0
	}
	return deepest + 1
}

// wantSameObject compares our reader with go-jose's, which differ in nothing but how
// deep they go.
func wantSameObject(t *testing.T, text string) {
	t.Helper()
	want, good := referenceObject(text)
	list, ok := parseObject(text)
	if ok != (good && depth(want) <= maxJSONDepth) {
		t.Fatalf("%q: accepted %v, by go-jose %v", text, ok, good)
	}
	if !ok {
		return
	}
	if len(list) != len(want) {
		t.Fatalf("%q: %d members, want %d", text, len(list), len(want))
	}
	for _, member := range list {
		var value any
		if err := json.Unmarshal([]byte(member.value), &value); err != nil || !reflect.DeepEqual(value, want[member.name]) {
			t.Errorf("%q: %q is %q, want %v", text, member.name, member.value, want[member.name])
		}
		wantSameTypes(t, &members{list: list}, member)
	}
}

// wantSameTypes compares what is read out of one member.
func wantSameTypes(t *testing.T, m *members, member jsonMember) {
	t.Helper()
	raw := []byte(member.value)
	var text *string
	good := json.Unmarshal(raw, &text) == nil && text != nil && *text != ""
	m.err = nil
	if got := m.text(member.name); (m.err == nil) != good || good && got != *text {
		t.Errorf("text of %q: %q, %v", raw, got, m.err)
	}
	var list []*string
	good = json.Unmarshal(raw, &list) == nil && list != nil && !slices.Contains(list, nil)
	m.err = nil
	got := m.texts(member.name)
	if (m.err == nil) != good || good != (got != nil) || len(got) > 0 && len(got) != len(list) {
		t.Fatalf("texts of %q: %q, %v", raw, got, m.err)
	}
	for i := range got {
		if got[i] != *list[i] {
			t.Errorf("texts of %q: %q", raw, got)
		}
	}
	var n int64
	good = json.Unmarshal(raw, &n) == nil && n > 0 && n <= lastSecond
	m.err = nil
	if got := m.date(member.name); (m.err == nil) != good || good && got.Unix() != n {
		t.Errorf("date of %q: %v, %v", raw, got, m.err)
	}
}

// jsonTexts are where readers of JSON go wrong.
func jsonTexts() []string {
	texts := []string{
		``, ` `, `{}`, ` { } `, "\ufeff{}", `[]`, `null`, `true`, `"x"`, `1`, `{`, `}`, `{}}`, `{}{}`, `{} x`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`,
		`{a:1}`, `{'a':1}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `{"":1}`, `{"":1,"":2}`, `{"a":{"b":1,"b":2}}`, `{"a":[{"b":1},{"b":2}]}`, `{"a":[[{"b":1,"b":2}]]}`,
		`{"\ud800":1,"\ud801":2}`, `{"\ud800":1,"\ufffd":2}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83dx"}`, `{"a":"\ude00"}`, "{\"a\":\"\xff\"}", "{\"a\xc3\":1}", "{\"a\":\"\x00\"}", "{\"a\":\"\n\"}", "{\"a\":\"\x7f\"}",
		`{"a":"\n\r\t\b\f\\\/\""}`, `{"a":"\'"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12G4"}`, "{\"a\":\"\\u\x10\x11\x12\x13\"}", `{"a":"\U0041"}`, `{"a":"\uABCD\uabcd"}`, `{"a":"\`, `{"a":"\u`, `{"a":"\u00`, `{"a":"`, `{"a":"\"`, `{"a`,
		"{\v}", "{\"a\":\f1}", "{\u00a0}", "{\"a\":1}\x00", `{"a":[]}`, `{"a":[1]}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a":[}`, `{"a":[1}`, `{"a":["x",null]}`, `{"a":["x", "y"]}`, `{"a":["x\u0079"]}`,
		`{"a":nul}`, `{"a":nulll}`, `{"a":True}`, `{"a":truefalse}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":-Infinity}`,
	}
	for _, number := range []string{
		"0", "-0", "00", "01", "-", "-01", "1", "+1", "1.", ".1", "1.5", "1.5e", "1.5e1", "1E+5", "1e-5", "1e+", "1e5.5", "0e0", "0x1", "1_0", "1e308", "1e309", "-1e309", "1e-400", "1e99999999999999999999", "1.7976931348623159e308",
		"253402300799", "253402300800", "9223372036854775808", "1777896000.0", strings.Repeat("9", 308), strings.Repeat("9", 309), strings.Repeat("9", 310), strings.Repeat("1", 400) + ".0", "0." + strings.Repeat("1", 400),
	} {
		texts = append(texts, `{"a":`+number+`}`, `{"a":[`+number+`,`+number+` ]}`, `{"a":{"b":`+number+`}}`)
	}
	for _, n := range []int{maxJSONDepth - 2, maxJSONDepth - 1, maxJSONDepth, 10_001} {
		texts = append(texts, `{"a":`+strings.Repeat(`[`, n)+strings.Repeat(`]`, n)+`}`, strings.Repeat(`{"a":`, n)+`1`+strings.Repeat(`}`, n), strings.Repeat(`{"a":`, n))
	}
	for _, n := range []int{16, 31, 32, 33, 64, 65, 200} { // members, all of one length
		var b strings.Builder
		for i := range n {
			b.WriteString(`"` + string([]byte{'a' + byte(i%26), 'a' + byte(i/26%26), 'x'}) + `":1,`)
		}
		texts = append(texts, `{`+b.String()+`"zzz":1}`, `{`+b.String()+`"aax":1}`, `{"a":{`+b.String()+`"aax":1}}`)
	}
	return texts
}

func TestStrictJSONAgainstGoJose(t *testing.T) {
	for _, text := range jsonTexts() {
		wantSameObject(t, text)
	}
}

func FuzzParseObject(f *testing.F) {
	for _, text := range jsonTexts() {
		f.Add(text)
	}
	f.Fuzz(wantSameObject)
}

// Two thousand names take no longer than a few when each is compared with all.
func TestManyMembersAreNotComparedOneByOne(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{`)
	for i := range 2000 {
		b.WriteString(`"` + big.NewInt(int64(i+1000)).String() + `x":1,`)
	}
	text := b.String() + `"x":1}`
	if _, ok := parseObject(text); !ok {
		t.Fatal("refused")
	}
	if _, ok := parseObject(b.String() + `"1999x":1}`); ok {
		t.Error("a repeated name among many was accepted")
	}
	fastest := time.Hour
	for range 5 {
		start := time.Now()
		parseObject(text)
		fastest = min(fastest, time.Since(start))
	}
	if fastest > 5*time.Millisecond {
		t.Errorf("took %v", fastest)
	}
}
