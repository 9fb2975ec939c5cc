package storage_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/lettergate/lettergate/provider/storage"
)

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(storage.Cursor{Sort: -5, Kind: storage.Grant, ID: "id"}.String())
	f.Add("AAAAAAAAAABncmFudABpZA")
	f.Add("00000000001ncm\rFudAA0")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := storage.ParseCursor(s)
		if err == nil && s != "" && c.String() != s {
			t.Errorf("%q was read as %+v, which is %q", s, c, c.String())
		}
	})
}

func TestCursor(t *testing.T) {
	first, err := storage.ParseCursor("")
	if err != nil {
		t.Fatal(err)
	}
	order := []storage.Cursor{
		first,
		{Sort: -storage.MaxSort, Kind: storage.Grant, ID: "\x00"},
		{Sort: -1, Kind: storage.User, ID: "z"},
		{Sort: 0, Kind: storage.Grant, ID: "a"},
		{Sort: 0, Kind: storage.Grant, ID: "a\x00b"},
		{Sort: 0, Kind: storage.Grant, ID: "\xff"},
		{Sort: 0, Kind: storage.User, ID: "a"},
		{Sort: storage.MaxSort, Kind: storage.Grant, ID: "a"},
	}
	if !slices.IsSortedFunc(order, storage.Cursor.Compare) {
		t.Errorf("the places are not in the order of List")
	}
	for i, c := range order[1:] {
		if got, err := storage.ParseCursor(c.String()); err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
		if order[i].Compare(c) != -1 || c.Compare(order[i]) != 1 || c.Compare(c) != 0 {
			t.Errorf("%+v does not compare as behind %+v", c, order[i])
		}
	}
}

func TestPageCheck(t *testing.T) {
	after, until, limit, err := storage.Page{}.Check()
	if err != nil || after.Sort != math.MinInt64 || until != math.MaxInt64 || limit != storage.DefaultPage {
		t.Errorf("the zero Page asks for %+v, %d, %d, %v", after, until, limit, err)
	}
	place := storage.Cursor{Sort: 3, Kind: storage.Grant, ID: "id"}
	after, until, limit, err = storage.Page{After: place.String(), Until: -7, Limit: storage.MaxPage}.Check()
	if err != nil || after != place || until != -7 || limit != storage.MaxPage {
		t.Errorf("the Page asks for %+v, %d, %d, %v", after, until, limit, err)
	}
	for _, bad := range []storage.Page{{Limit: -1}, {Limit: storage.MaxPage + 1}, {After: "here"}} {
		if _, _, _, err := bad.Check(); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", bad, err)
		}
	}
}
