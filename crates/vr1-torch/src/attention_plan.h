// Where the tokens of groups lie, and how their attention is cut into calls of a kernel. N tokens, K key-value heads, S segments of
// a bucket, T its length.
#pragma once

#include <ATen/ATen.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace vr1 {

struct Segment {
  int64_t start, length;
  int64_t end() const { return start + length; }
};

// A group that has suffixes: they lie behind their prefix.
struct Group {
  Segment prefix, suffixes;
};

// Short segments that are one dense call, padded on the right. A row is a token's share of one key-value head.
struct Bucket {
  int64_t segments, length;
  at::Tensor padded;  // [S·K·T] the row at each place; behind a segment's end, its last row again
  at::Tensor rows;    // the rows of the bucket, each once
  at::Tensor places;  // where in `padded` they are; undefined where nothing is padded
  at::Tensor padding; // the places that no row has; undefined where nothing is padded
};

// What a kernel with cumulative lengths reads; int32.
struct Ragged {
  at::Tensor segments, prefixes, suffixes;           // cumulative lengths
  int64_t longest, longest_prefix, longest_suffixes; // for `segments`, `prefixes`, `suffixes`
  at::Tensor prefix_tokens, suffix_tokens;           // int64; undefined where one group makes slices of them
};

class Plan : public torch::CustomClassHolder {
 public:
  Plan(const int64_t *prefixes, const int64_t *counts, size_t groups, const int64_t *suffixes) {
    for (size_t g = 0; g < groups; ++g) {
      const auto segment = [&](int64_t length) {
        segments_.push_back({tokens_, length});
        tokens_ += length;
      };
      segment(prefixes[g]);
      const auto prefix = segments_.back();
      for (int64_t s = 0; s < counts[g]; ++s) segment(*suffixes++);
      if (counts[g] > 0) groups_.push_back({prefix, {prefix.end(), tokens_ - prefix.end()}});
    }
    auto sorted = segments_;
    std::stable_sort(sorted.begin(), sorted.end(), [](auto &a, auto &b) { return a.length > b.length; });
    for (const auto &segment : sorted) {
      if (segment.length > kLong) {
        alone_.push_back(segment);
      } else if (!buckets_.empty() && near(segment.length, buckets_.back().front().length)) {
        buckets_.back().push_back(segment);
      } else {
        buckets_.push_back({segment});
      }
    }
    // A bucket of one is a slice.
    for (auto &bucket : buckets_) {
      if (bucket.size() == 1) alone_.push_back(bucket.front());
    }
    buckets_.erase(std::remove_if(buckets_.begin(), buckets_.end(), [](auto &b) { return b.size() == 1; }), buckets_.end());
  }

  int64_t tokens() const { return tokens_; }
  const std::vector<Group> &groups() const { return groups_; }
  // Segments that are a call each.
  const std::vector<Segment> &alone() const { return alone_; }

  const std::vector<Bucket> &buckets(int64_t heads, const at::Device &device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto [entry, absent] = dense_.try_emplace({device.str(), heads});
    if (absent) {
      for (const auto &segments : buckets_) entry->second.push_back(bucket(segments, heads, device));
    }
    return entry->second;
  }

  const Ragged &ragged(const at::Device &device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto [entry, absent] = ragged_.try_emplace(device.str());
    if (absent) entry->second = ragged_on(device);
    return entry->second;
  }

 private:
  // Longer segments are worth a call of their own, which needs no copy.
  static constexpr int64_t kLong = 256;

  static bool near(int64_t length, int64_t longest) { return longest - length <= 16 || 4 * length >= 3 * longest; }

  static at::Tensor tensor(const std::vector<int64_t> &values, const at::Device &device) {
    return at::tensor(values, at::kLong).to(device);
  }

  static Bucket bucket(const std::vector<Segment> &segments, int64_t heads, const at::Device &device) {
    const int64_t longest = segments.front().length;
    std::vector<int64_t> padded, rows, places, padding;
    for (const auto &segment : segments) {
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t t = 0; t < longest; ++t) {
          const int64_t place = static_cast<int64_t>(padded.size());
          const int64_t row = (segment.start + std::min(t, segment.length - 1)) * heads + head;
          padded.push_back(row);
          if (t < segment.length) {
            rows.push_back(row);
            places.push_back(place);
          } else {
            padding.push_back(place);
          }
        }
      }
    }
    Bucket out{static_cast<int64_t>(segments.size()), longest, tensor(padded, device), tensor(rows, device), {}, {}};
    if (!padding.empty()) {
      out.places = tensor(places, device);
      out.padding = tensor(padding, device);
    }
    return out;
  }

  Ragged ragged_on(const at::Device &device) const {
    std::vector<int64_t> segments{0}, prefixes{0}, suffixes{0}, prefix_tokens, suffix_tokens;
    Ragged out{};
    const auto append = [](std::vector<int64_t> &ends, int64_t &longest, const Segment &segment) {
      ends.push_back(ends.back() + segment.length);
      longest = std::max(longest, segment.length);
    };
    for (const auto &segment : segments_) append(segments, out.longest, segment);
    for (const auto &group : groups_) {
      append(prefixes, out.longest_prefix, group.prefix);
      append(suffixes, out.longest_suffixes, group.suffixes);
      for (int64_t t = group.prefix.start; t < group.prefix.end(); ++t) prefix_tokens.push_back(t);
      for (int64_t t = group.suffixes.start; t < group.suffixes.end(); ++t) suffix_tokens.push_back(t);
    }
    const auto ends = [&](const std::vector<int64_t> &values) { return tensor(values, device).to(at::kInt); };
    out.segments = ends(segments), out.prefixes = ends(prefixes), out.suffixes = ends(suffixes);
    if (groups_.size() > 1) {
      out.prefix_tokens = tensor(prefix_tokens, device);
      out.suffix_tokens = tensor(suffix_tokens, device);
    }
    return out;
  }

  int64_t tokens_ = 0;
  std::vector<Segment> segments_, alone_;
  std::vector<Group> groups_;
  std::vector<std::vector<Segment>> buckets_;
  std::mutex mutex_;
  std::map<std::pair<std::string, int64_t>, std::vector<Bucket>> dense_;
  std::map<std::string, Ragged> ragged_;
};

}  // namespace vr1
