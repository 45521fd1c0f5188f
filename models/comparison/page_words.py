"""The words of the comparison page, in two languages."""

from __future__ import annotations

LANGUAGES = ("en", "ja")

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Anomaly detection methods compared",
        "best": "{method} ranks anomalies best (VUS-PR {value}); {second} follows with {other}.",
        "promise": "At most {promised} of normal readings were promised to raise a false alarm: {kept}.",
        "kept": "{method} {value} (kept)",
        "broken": "{method} {value} (not kept)",
        "comma": ", ",
        "quicker": "Trained faster still: {methods}.",
        "faster": "The Linear Memory Network is trained in {own}, {ratio} times as fast as {method} ({other}).",
        "slower": "The Linear Memory Network is trained in {own}; {method} takes {other}.",
        "left": "{count} runs were left out; they are listed below.",
        "unlabelled": (
            "The recordings have no labels: nothing can be said of what was found, only how far methods agree."
        ),
        "table": "Figures of each method",
        "method": "method",
        "vus_pr": "VUS-PR",
        "average_precision": "average precision",
        "f1": "F1",
        "kept_false_alarm_rate": "false alarms kept",
        "missed_alarm_rate": "missed",
        "found": "episodes found",
        "delay_ticks_median": "delay, readings",
        "false_alarms_per_machine_week": "false alarms a machine and week",
        "normal_time_in_alarm": "normal time in alarm",
        "over": "readings over the threshold",
        "in_alarm": "time in alarm",
        "fit_seconds": "fit, s",
        "search_seconds": "search, s",
        "retrain_seconds": "retraining, s",
        "parameters": "parameters",
        "latency_p50_us": "latency p50, µs",
        "latency_p99_us": "latency p99, µs",
        "readings_per_second": "readings/s a core",
        "bytes_per_machine": "bytes a machine",
        "time_plot": "Training time against accuracy",
        "time_axis": "seconds of the final fits",
        "spread_plot": "Spread over seeds (VUS-PR)",
        "traces": "Scores over time",
        "traces_note": "Shaded: labelled as faulty. Dashed: the threshold that was set in training. Below: alarms.",
        "agreement": "Agreement between methods",
        "rank_correlation": "rank correlation of scores",
        "jaccard": "alarmed readings in common",
        "recordings": "Recordings",
        "name": "name",
        "train_rows": "rows trained on",
        "test_rows": "rows judged",
        "anomalous_rows": "of them faulty",
        "episodes": "episodes",
        "left_out": "Left out",
        "reason": "reason",
        "seed": "seed",
        "how": "What was done",
        "done": (
            "Each method was trained on the rows of each recording that were set aside for it, normal "
            "operation only, with the same scaling, the same blocked cross-fitting and the same way to set a "
            "threshold for {promised} false alarms; the threshold comes from those rows alone. Labels were "
            "looked at only to judge the rest. Hyper-parameters were chosen by the error of held-out normal "
            "rows, with as many trials for each method that has any. Each method ran on one thread "
            "({hardware}). Methods that draw at random were run with {seeds} seeds."
        ),
        "terms": (
            "VUS-PR: area under precision and recall, averaged over tolerances of time (1 is best). Average "
            "precision: without tolerance. F1, false alarms and missed: at the calibrated threshold, "
            "readings counted one by one. Delay: from the first faulty reading of an episode to the first "
            "over the threshold, median of those found. Fit: the final model of every recording, summed. "
            "Search: all trials of hyper-parameters. Retraining: fit and calibration anew. Latency: one "
            "reading by itself."
        ),
    },
    "ja": {
        "title": "異常検知手法の比較レポート",
        "best": "異常の検出精度(VUS-PR)は {method} が最も高く {value}、次が {second} の {other} です。",
        "promise": "誤報率は正常時の測定値の {promised} 以下とする設定でした。実績は次のとおりです: {kept}。",
        "kept": "{method} {value}(達成)",
        "broken": "{method} {value}(未達)",
        "comma": "、",
        "quicker": "さらに短時間で学習したもの: {methods}。",
        "faster": "Linear Memory Network の学習時間は {own} で、{method}({other})の {ratio} 倍の速さです。",
        "slower": "Linear Memory Network の学習時間は {own}、{method} は {other} です。",
        "left": "実行しなかったものが {count} 件あります。末尾に一覧を示します。",
        "unlabelled": "データに正解ラベルがないため、検出精度は評価できません。手法間の一致度のみを示します。",
        "table": "手法ごとの評価結果",
        "method": "手法",
        "vus_pr": "VUS-PR",
        "average_precision": "平均適合率",
        "f1": "F1",
        "kept_false_alarm_rate": "誤報率(実績)",
        "missed_alarm_rate": "見逃し率",
        "found": "検出した異常区間",
        "delay_ticks_median": "検出遅れ(測定回数)",
        "false_alarms_per_machine_week": "誤報件数(1台・1週間あたり)",
        "normal_time_in_alarm": "正常時のアラーム時間の割合",
        "over": "しきい値を超えた割合",
        "in_alarm": "アラーム時間の割合",
        "fit_seconds": "学習(秒)",
        "search_seconds": "探索(秒)",
        "retrain_seconds": "再学習(秒)",
        "parameters": "パラメータ数",
        "latency_p50_us": "応答時間 中央値(µs)",
        "latency_p99_us": "応答時間 99%(µs)",
        "readings_per_second": "処理件数/秒(1コア)",
        "bytes_per_machine": "1台あたりメモリ(バイト)",
        "time_plot": "学習時間と検出精度",
        "time_axis": "最終学習の合計時間(秒)",
        "spread_plot": "乱数シードによるばらつき(VUS-PR)",
        "traces": "異常スコアの推移",
        "traces_note": "網掛け: 異常とラベル付けされた区間。破線: 学習時に定めたしきい値。下段: アラーム。",
        "agreement": "手法間の一致度",
        "rank_correlation": "スコアの順位相関",
        "jaccard": "アラームの一致率",
        "recordings": "使用したデータ",
        "name": "名称",
        "train_rows": "学習行数",
        "test_rows": "評価行数",
        "anomalous_rows": "うち異常",
        "episodes": "異常区間数",
        "left_out": "実行しなかったもの",
        "reason": "理由",
        "seed": "シード",
        "how": "評価方法",
        "done": (
            "各手法は、各データのうち学習用とした行(正常運転のみ)で学習しました。標準化、ブロック交差検証、誤"
            "報率 {promised} に対するしきい値の決め方はすべての手法で共通で、しきい値は学習データのみから定め"
            "ています。正解ラベルは評価にのみ使用しました。ハイパーパラメータは、学習に使わなかった正常データ"
            "の誤差で選び、試行回数は各手法で同じです。計算はいずれも1スレッドで行いました({hardware})。乱数"
            "を用いる手法は {seeds} 通りのシードで実行しました。"
        ),
        "terms": (
            "VUS-PR: 時間的なずれを許容して平均した適合率・再現率曲線の下の面積(1が最良)。平均適合率: ずれを"
            "許容しない値。F1・誤報率・見逃し率: 設定したしきい値での値(測定値ごとに集計)。検出遅れ: 異常区間"
            "の先頭から最初の検出までの測定回数の中央値。学習: 全データの最終モデルの学習時間の合計。探索: ハ"
            "イパーパラメータの全試行。再学習: 学習としきい値設定のやり直し。応答時間: 測定値1件ごとの処理時"
            "間。"
        ),
    },
}
